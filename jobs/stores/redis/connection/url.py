"""Check a Redis URL. The errors never show the URL, because it may hold a password."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, urlsplit

from jobs.errors import InvalidInput

SCHEMES = ("redis", "rediss", "unix")
_TRUTH = "(?i:true|false|yes|no|1|0)"
TLS_OPTIONS = {
    "ssl_ca_certs": ".+",
    "ssl_ca_path": ".+",
    "ssl_certfile": ".+",
    "ssl_keyfile": ".+",
    "ssl_password": ".*",
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": _TRUTH,
}
# Allowed option after the `?` of a URL -> pattern of its value. `db` is for unix:// only.
OPTIONS = {"db": "[0-9]{1,5}", "protocol": "2|3", **TLS_OPTIONS}
FORM_HINT = (
    "A Redis URL looks like redis://[USER:PASSWORD@]HOST:PORT/DATABASE; rediss:// for TLS, unix:// for a socket.\n"
    "In a password, write / as %2F, @ as %40, # as %23 and ? as %3F."
)


def check_url(url: str) -> None:
    """Refuse a URL that redis-py and kombu would read differently, or could not read.

    Raises:
        InvalidInput: The scheme is unknown, the host is not a name, or an option is not in `OPTIONS`. Also raised if
            the port or the database is not a number.
    """
    scheme, found, _ = url.partition("://")
    if not found:
        raise bad_url("it has no scheme; write redis:// before it")
    if scheme not in SCHEMES:
        raise bad_url(f"its scheme is {scheme!r}, not {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise bad_url("its port is not a whole number up to 65535, or its host is not a name") from None
    if parts.fragment:
        raise bad_url("it contains a #, which ends a URL")
    _check_place(scheme, parts)
    _check_options(scheme, parts.query)


def _check_place(scheme: str, parts: SplitResult) -> None:
    if scheme == "unix":
        if not parts.path:
            raise bad_url("it names no socket")
        return
    try:
        (parts.hostname or "localhost").encode("idna")
    except UnicodeError:
        raise bad_url("its host is not a name") from None
    if parts.port == 0:  # redis-py would use 6379 instead
        raise bad_url("its port is 0; ports are from 1 to 65535")
    if not re.fullmatch(r"/?[0-9]{0,5}", parts.path):  # redis-py would use database 0 for a longer number
        raise bad_url("its database is not a whole number up to 99999")


def _check_options(scheme: str, query: str) -> None:
    """Allow only options that keep the protocol of store and queue unchanged.

    redis-py passes any other option to its connection. For example, an option that decodes replies breaks every
    reader.
    """
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name == "db" and scheme != "unix":  # kombu would use database 0
            raise bad_url("its database is an option; write it after the port, as in redis://HOST:6379/3")
        if name in TLS_OPTIONS and scheme != "rediss":
            raise bad_url(f"its option `{name}` is for rediss:// only")
        allowed = OPTIONS.get(name)
        if allowed is None:
            # A password that contains a question mark looks like an option, but an @ follows it.
            is_a_name = re.fullmatch("[a-z_]{1,50}", name) and "@" not in query
            what = f"an unknown option, `{name}`" if is_a_name else "a ? without an option after it"
            raise bad_url(f"it has {what}; options are {', '.join(OPTIONS)}")
        if not all(re.fullmatch(allowed, value) for value in values):
            raise bad_url(f"its option `{name}` has an invalid value")


def bad_url(reason: str) -> InvalidInput:
    """Return the error for a URL that cannot be used."""
    return InvalidInput(f"The Redis URL cannot be used: {reason}.", FORM_HINT)
