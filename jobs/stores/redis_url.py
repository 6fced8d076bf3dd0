"""What can be wrong with a Redis URL, said without showing the URL: it may hold a password."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import redis

from jobs.errors import InvalidInput

SCHEMES = ("redis", "rediss", "unix")
FORM_HINT = (
    "It looks like redis://[USER:PASSWORD@]HOST:PORT/DATABASE; rediss:// for TLS, unix:// for a socket.\n"
    "Inside a password, / is written %2F, @ is %40, # is %23 and ? is %3F."
)


def check_url(url: str) -> None:
    """Refuse what redis-py and kombu would read differently, or not at all.

    Raises:
        InvalidInput: Another scheme, a port that is none, or a database that is no number.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise bad_url(f"its scheme is {scheme if found else ''!r}, not {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise bad_url("its port is not a whole number up to 65535, or its host not a name") from None
    if scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise bad_url("its database is not a whole number")
    if scheme != "unix" and "db" in parse_qs(parts.query):  # kombu would take database 0
        raise bad_url("its database stands in an option; it belongs after the port, as in redis://HOST:6379/3")


def check_options(client: redis.Redis) -> None:
    """Refuse options after the URL's `?` that no connection knows. Raises `InvalidInput`."""
    pool = client.connection_pool
    try:
        pool.connection_class(**pool.connection_kwargs)  # does not connect
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None:
            raise
        raise bad_url(f"it has an unknown option, `{unknown[1]}`") from None


def bad_url(reason: str) -> InvalidInput:
    """The error for a URL that cannot be used."""
    return InvalidInput(f"The Redis URL cannot be used: {reason}.", FORM_HINT)
