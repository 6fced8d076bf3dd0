"""Visitors of the pages: the session in the cookie, and the proof that a form comes from a page of ours."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from jobs.service.sessions import LIFE_SECONDS, new_session_id
from server.access.caller import EVERYBODY, Caller
from server.middleware.api_error import ApiError
from server.state import Services

COOKIE = "qwen_batch_session"
TOKEN_FIELD = "token"  # noqa: S105 - the name of a form's field


@dataclass(frozen=True)
class Visitor:
    """Somebody who may see the pages of one project."""

    caller: Caller
    session_id: str
    has_key: bool  # True: logged in with an API key; False: the service has no keys
    is_new: bool = False  # True: the answer must set the cookie

    @property
    def project(self) -> str:
        """The project whose jobs the visitor sees."""
        return self.caller.project

    @property
    def sees_own_jobs(self) -> bool:
        """True if the visitor also sees the jobs of the command line, which have no project."""
        return self.caller.project == EVERYBODY.project and self.is_admin

    @property
    def is_admin(self) -> bool:
        """True if the visitor may see whatever is not part of a project, such as the names of hosts."""
        return "admin" in self.caller.rights

    @property
    def token(self) -> str:
        """The secret that every form of the session carries. Another page cannot compute it from what it can see."""
        return token_of(self.session_id)


def token_of(session_id: str) -> str:
    """Return the token of a session's forms."""
    return hmac.new(session_id.encode(), b"form", hashlib.sha256).hexdigest()


async def visitor_of(request: Request, services: Services) -> Visitor | None:
    """Return who sends a request, or None if they must log in first.

    Raises:
        ApiError: The key of the session lacks the right `batch`.
        StoreUnavailable: The sessions cannot be read.
    """
    session_id = request.cookies.get(COOKIE, "")
    if not services.options.auth:
        return Visitor(EVERYBODY, session_id or new_session_id(), has_key=False, is_new=not session_id)
    if not session_id:
        return None
    key_hash = await services.store_threads.run(services.stores.sessions.key_hash, session_id)
    caller = services.keys.caller_with_hash(key_hash) if key_hash is not None else None
    if caller is None:  # the session is over, or its key was removed or has expired
        return None
    if "batch" not in caller.rights:
        raise ApiError(403, "This API key lacks the right `batch`, so it cannot see jobs. Log in with another key.")
    return Visitor(caller, session_id, has_key=True)


def check_same_origin(request: Request) -> None:
    """Refuse a form that another site has sent. Raises `ApiError`.

    Browsers send `Sec-Fetch-Site` only over HTTPS and to this machine. Otherwise the header `Origin` decides, which
    they send with every form.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    same_host = urlsplit(origin).netloc == request.headers.get("host")
    if site != "same-origin" and (site is not None or not same_host):
        raise ApiError(403, "This form was sent by another site. Open the page here, and send the form again.")


def check_token(fields: Mapping[str, str], visitor: Visitor) -> None:
    """Refuse a form without the token of the visitor's session. Raises `ApiError`."""
    if not hmac.compare_digest(fields.get(TOKEN_FIELD, "").encode(), visitor.token.encode()):
        raise ApiError(403, "This form belongs to another session. Open the page again, and send the form again.")


def set_session(request: Request, response: Response, session_id: str) -> None:
    """Let the browser keep a session for 12 hours. Scripts and other sites cannot use it."""
    is_tls = request.url.scheme == "https"
    response.set_cookie(COOKIE, session_id, LIFE_SECONDS, httponly=True, samesite="strict", secure=is_tls)
