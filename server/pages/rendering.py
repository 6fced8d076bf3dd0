"""Make pages from templates. Every text is escaped, and no page may load anything from another host."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobs.stats import figures
from server.pages.static_files import StaticFiles
from server.pages.visitor import Visitor, set_session

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",  # with `no-referrer`, browsers send forms without their origin
    "cache-control": "no-store",  # pages show prompts
    "cross-origin-opener-policy": "same-origin",
}
THEME_COOKIE = "qwen_batch_theme"
THEMES = ("system", "light", "dark")


class Renderer:
    """Renders the templates in `server/templates`."""

    def __init__(self, static: StaticFiles) -> None:
        self._environment = Environment(
            loader=PackageLoader("server", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "count": figures.count,
            "rate": _rate,
            "seconds": figures.seconds,
            "about": figures.about,
            "milliseconds": figures.milliseconds,
            "percent": figures.percent,
            "size": figures.size,
            "moment": _moment,
            "machine_time": _machine_time,
        }
        self._environment.globals["static"] = static.address

    def page(
        self, request: Request, visitor: Visitor | None, name: str, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        """Return a page, or only its live part if a script asks for that.

        A script sends the ETag of the part that it shows. `RecentParts` shares parts, so its caller compares this ETag.

        Args:
            request: The request.
            visitor: Who sees the page; None before a login.
            name: Name of the template, without `.html`. Its live part is the template `_NAME.html`, if it has one.
            values: Variables of the template.
            status: HTTP status of the answer.
        """
        is_part = wants_part(request)
        template = self._environment.get_template(f"_{name}.html" if is_part else f"{name}.html")
        theme = request.cookies.get(THEME_COOKIE, "")
        body = template.render(
            values, visitor=visitor, theme=theme if theme in THEMES else THEMES[0], here=_address_of(request)
        )
        headers = dict(HEADERS)
        if status == 200:
            headers["etag"] = f'"{hashlib.blake2b(body.encode(), digest_size=12).hexdigest()}"'
        response = Response(body, status, headers, media_type="text/html; charset=utf-8")
        if visitor is not None and visitor.is_new:
            set_session(request, response, visitor.session_id)
        return response if is_part else unless_known(request, response)


def wants_part(request: Request) -> bool:
    """Return whether a script asks for the live part of a page, not for the whole page."""
    return request.method == "GET" and request.headers.get("hx-request") == "true"


def unless_known(request: Request, response: Response) -> Response:
    """Return the answer, or 304 without a body if the browser has what the answer says."""
    known = request.headers.get("if-none-match")
    if known is None or response.status_code != 200 or response.headers.get("etag") != known:
        return response
    return Response(status_code=304, headers={**HEADERS, "etag": known})


def redirect(path: str) -> Response:
    """Return an answer that sends the browser to a page of ours, with GET."""
    return RedirectResponse(path, 303, HEADERS)


def local_path(said: str) -> str:
    """Return a path of this host that a form or a link names, or `/` if it names anything else."""
    is_path = said.startswith("/") and not said.startswith(("//", "/\\")) and said.isprintable()
    return said if is_path else "/"


def _address_of(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _moment(seconds: float | None) -> str:
    """Format a time in UTC: `2026-11-28 14:05`. None is a dash."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _rate(number: float | None) -> str:
    return "0" if number == 0 else figures.rate(number)


def _machine_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
