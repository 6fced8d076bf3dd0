"""Errors of the HTTP service, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from jobs.errors import QuotaExceeded, QwenBatchError, RepeatDiffers, StoreFull, StoreUnavailable

RETRY_SECONDS = 2  # for a client that meets a store in trouble
BUG = "The server had an error while processing your request."  # all that a client hears of a bug


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status code.
        message: What is wrong and what to do, for people.
        param: The parameter at fault.
        code: The error's name, for programs.
        kind: OpenAI's `type` of the error. Empty for the usual type of the status.
        headers: Further headers of the answer, with lower-case names.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """Return the body of the answer. It always has all four keys."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Return the answer."""
        return Response(
            msgspec.json.format(msgspec.json.encode(self.body()), indent=2),
            self.status,
            self.headers,
            media_type="application/json",
        )


def not_repeatable(status: int, message: str, code: str | None = None, param: str | None = None) -> ApiError:
    """Return an error that clients should not answer with a repetition, as they else do for some statuses."""
    return ApiError(status, message, code=code, param=param, headers={"x-should-retry": "false"})


def retry_later(status: int, message: str, code: str, seconds: int = RETRY_SECONDS, kind: str = "") -> ApiError:
    """Return an error of a service that will work again in some seconds."""
    headers = {"retry-after": str(seconds), "retry-after-ms": str(seconds * 1000)}
    return ApiError(status, message, code=code, kind=kind, headers=headers)


def api_error_of(error: QwenBatchError) -> ApiError:
    """Return the answer to an error of the stores."""
    match error:
        case StoreUnavailable():
            return retry_later(503, "The job store cannot be reached at the moment.", "store_unavailable")
        case StoreFull():
            return retry_later(503, "The job store is full and refuses changes.", "store_full", 30)
        case QuotaExceeded():
            return not_repeatable(400, str(error), "storage_limit_exceeded")
        case RepeatDiffers():
            return not_repeatable(409, str(error), "idempotency_key_reused")
        case _:
            return ApiError(500, BUG, code=None)
