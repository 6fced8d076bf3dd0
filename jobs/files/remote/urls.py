"""Tell URLs from paths, and show them without their secrets."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from jobs.errors import InvalidInput
from jobs.harmless import harmless

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_QUERY = re.compile(r"[?#]")


def is_url(text: str) -> bool:
    """Return whether a text is a URL, such as `s3://bucket/key`, and not a path."""
    return _URL.match(text) is not None


def scheme_of(url: str) -> str:
    """Return a URL's scheme in lower case, such as `s3`."""
    return url.partition("://")[0].lower()


def shown_url(url: str) -> str:
    """Return a URL for messages and records, without user, password, query and fragment.

    A signed URL has its signature in the query, and the signature is as good as a password.
    """
    return harmless(_QUERY.split(url, maxsplit=1)[0] if scheme_of(url) in ("http", "https") else url)


def http_url(url: str) -> str:
    """Return a URL of http or https as a request needs it, in ASCII.

    Raises:
        InvalidInput: The URL has no host, a bad port, a user, white space or control characters.
    """
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise InvalidInput(f"{shown_url(url)} is not a URL that can be read.", "Write https://HOST/PATH.")
    if url.isascii():
        return url
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.encode('idna').decode()}{slash}{quote(path, safe='/?#&=%+:;,@!$()*~')}"
