"""Recognise the repetitions of a request, from its headers."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers

from jobs.uploads.repeat import Repeat
from server.access.caller import Caller

_RETRY_SECONDS = 600.0  # clients repeat within seconds; a proxy may hold a request for minutes
_KEY_SECONDS = 86_400.0


def repeat_of(headers: Headers, caller: Caller, what: str, digest: str) -> Repeat:
    """Return how to recognise the repetitions of a request that makes an object.

    OpenAI's clients send no idempotency key, but count their tries in a header. An `Idempotency-Key` also works.

    Args:
        headers: Headers of the request.
        caller: Its sender. Requests of different API keys are never the same.
        what: What the request makes.
        digest: Hash of everything that decides the object.
    """
    key = headers.get("idempotency-key")
    if key is not None:
        return Repeat(_hash(caller.key_id, what, "key", key), digest, _KEY_SECONDS, is_retry=True)
    count = headers.get("x-stainless-retry-count", "0")
    is_retry = count.isascii() and count.isdigit() and count.strip("0") != ""
    return Repeat(_hash(caller.key_id, what, "body", digest), digest, _RETRY_SECONDS, is_retry)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
