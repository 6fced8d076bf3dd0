"""Errors of an interactive request, as answers to its client."""

from __future__ import annotations

from jobs.files.results.response_bodies import error_body, status_of
from jobs.records.completion import ErrorCode, LineError
from server.middleware.api_error import BUG, ApiError, not_repeatable, retry_later


def api_error_of_line(error: LineError, param: str | None = None) -> ApiError:
    """Return the answer to the error of a line.

    Args:
        error: What the worker says.
        param: Key of the request's body that is at fault, if it is known.
    """
    match error.code:
        case ErrorCode.EXPIRED:
            return too_slow()
        case ErrorCode.CANCELLED:
            return retry_later(503, "The request was aborted.", "server_error")
    said = error_body(error)["error"]
    if status_of(error) < 500:
        return ApiError(400, said["message"], param=param, code=said["code"])
    return ApiError(500, BUG, code=said["code"])


def too_slow() -> ApiError:
    """Return the error for a request that reached its time limit. A repetition would only add to the load."""
    return not_repeatable(503, "The request took too long. Ask for fewer tokens, or create a batch.", "request_timeout")


def no_worker(model: str, *, is_loading: bool = False) -> ApiError:
    """Return the error for a model that no worker serves at the moment.

    Args:
        model: The model.
        is_loading: True if a worker is loading the model.
    """
    said = f"'{model[:100]}'"
    message = f"A worker is still loading the model {said}." if is_loading else f"No worker serves the model {said}."
    return retry_later(503, f"{message} Try again in a moment.", "no_worker", 5)


def shutting_down() -> ApiError:
    """Return the error for a process that stops."""
    return retry_later(503, "This server is stopping.", "shutting_down")


def stream_diverged() -> ApiError:
    """Return the error for a text that another worker does not repeat."""
    return ApiError(500, "Another worker gave another text after the first one was lost.", code="stream_diverged")


def worker_lost() -> ApiError:
    """Return the error for a request whose workers died."""
    return not_repeatable(500, "The workers that ran this request ended without a result.", "worker_lost")


def queue_full(model: str) -> ApiError:
    """Return the error for a model with too many waiting requests."""
    return retry_later(503, f"Too many requests wait for the model '{model[:100]}'.", "queue_full", 5)


def too_many_at_once(limit: int) -> ApiError:
    """Return the error for an API key with too many requests at once."""
    message = f"Too many interactive requests at once. At most {limit:,} are allowed; send the others as a batch."
    return retry_later(429, message, "rate_limit_exceeded", 2, "requests")
