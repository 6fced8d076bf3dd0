"""Turn the errors of drivers of object stores into errors for users. The drivers have no common kinds of errors."""

from __future__ import annotations

import re

from jobs.errors import InvalidInput
from jobs.harmless import harmless

_MAX_REASON_CHARS = 200
_MISSING = {"FileNotFoundError", "EntryNotFoundError", "RepositoryNotFoundError", "RevisionNotFoundError"}
_REFUSED = {"PermissionError", "GatedRepoError"}
_NO_CREDENTIALS = {
    "ClientAuthenticationError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
}
_UNREACHABLE = {
    "ClientConnectorError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectTimeoutError",
    "ConnectionError",
    "EndpointConnectionError",
    "FSTimeoutError",
    "HTTPClientError",
    "ReadTimeoutError",
    "ServiceRequestError",
    "TimeoutError",
    "TransportError",
}
_BROKEN = {
    "ClientPayloadError",
    "ConnectionClosedError",
    "ConnectionResetError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ServerDisconnectedError",
}
_QUERY = re.compile(r"\?\S*")  # query of a URL, which may hold a signature


class NoSuchObject(InvalidInput):
    """The store has no object at a URL, but it may have the URL's bucket."""


class BrokenTransfer(InvalidInput):
    """A connection broke in the middle of a transfer, which may succeed later."""


def missing_driver(what: str, package: str, extra: str) -> InvalidInput:
    """Return the error for a driver that is not installed."""
    return InvalidInput(
        f"{what} needs {package}, which is not installed.", f"Install it: pip install 'qwen-batch[{extra}]'"
    )


def driver_error(error: Exception, name: str, what: str, login_hint: str) -> InvalidInput:
    """Return the error for a user.

    Args:
        error: A driver's error.
        name: The URL, without secrets.
        what: What did not work, such as `be read`.
        login_hint: What to do if the credentials are at fault.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _NO_CREDENTIALS:
        return InvalidInput(f"{name} cannot {what}: there are no credentials for it.", login_hint)
    if kinds & _BROKEN:
        return BrokenTransfer(f"{name} cannot {what}: the connection was cut.", "Check the network, and try again.")
    if kinds & _UNREACHABLE:
        return InvalidInput(
            f"{name} cannot {what}: its server cannot be reached.", "Check the network, the proxy and the endpoint."
        )
    reason = harmless(_QUERY.sub("?…", str(error).strip().partition("\n")[0])[:_MAX_REASON_CHARS]).rstrip(".")
    if kinds & _REFUSED:  # one of them is a kind of missing, too
        return InvalidInput(f"{name} cannot {what}: the server refuses: {reason}.", login_hint)
    if kinds & _MISSING:
        return NoSuchObject(f"{name} cannot {what}: it does not exist.", "Check the URL.")
    return InvalidInput(
        f"{name} cannot {what}: {reason or type(error).__name__}.", "Check the URL and the credentials."
    )
