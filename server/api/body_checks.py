"""Read the JSON body of a request, and check its values by hand, so that each error names its key as OpenAI does."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec
from starlette.requests import Request

from server.middleware.api_error import ApiError

Json = Any
_NUMBER = re.compile(r"[0-9]{1,18}")
_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request. Raises `ApiError` if it is too long."""
    refusal = ApiError(413, f"The body of the request is too long. It may have at most {max_bytes:,} bytes.")
    if length_of(request) > max_bytes:
        raise refusal
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise refusal
    return bytes(body)


def object_in(body: bytes) -> dict[str, Json]:
    """Return the JSON object in a body. Raises `ApiError`."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body of the request is no valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError(
            400, f"The body of the request is {kind_name(value)}; it must be an object.", code="invalid_type"
        )
    return value


def check_known(body: dict[str, Json], known: Collection[str]) -> None:
    """Raise `ApiError` if the body has an unknown key."""
    for key in body:
        if key not in known:
            raise ApiError(400, f"Unknown parameter: '{key[:100]}'.", param=key[:100], code="unknown_parameter")


def required_text(body: dict[str, Json], key: str) -> str:
    """Return the text of a key. Raises `ApiError` if it is missing or no text."""
    value = body.get(key)
    if value is None:
        raise ApiError(400, f"Missing required parameter: '{key}'.", param=key, code="missing_required_parameter")
    text: str = checked(value, str, key)
    return text


def checked(value: Json, kind: type, param: str) -> Json:
    """Return a value of one kind. Raises `ApiError` if it is of another kind."""
    if type(value) is not kind:
        raise ApiError(
            400,
            f"Invalid type for '{param}': expected {_KINDS[kind]}, but got {kind_name(value)} instead.",
            param=param,
            code="invalid_type",
        )
    return value


def invalid_value(param: str, value: object, allowed: str) -> ApiError:
    """Return the error for a value that is not allowed.

    Args:
        param: The key.
        value: The value of the request.
        allowed: The allowed values, as the end of a sentence.
    """
    shown = str(value)
    cut = shown if len(shown) <= 100 else f"{shown[:100]}…"
    return ApiError(
        400, f"Invalid value for '{param}': {cut!r}. It must be {allowed}.", param=param, code="invalid_value"
    )


def kind_name(value: Json) -> str:
    """Return the JSON type of a value, in words."""
    return _KINDS.get(type(value), "another value")


def length_of(request: Request) -> int:
    """Return the length of the body in bytes, as the request says it. 0 if it does not say."""
    said = whole_number(request.headers.get("content-length", ""))
    return said if said is not None else 0


def whole_number(text: str) -> int | None:
    """Return the number in a text, or None if the text is no whole number of at most 18 digits."""
    return int(text) if _NUMBER.fullmatch(text) else None


def expiry_seconds(anchor: Json, seconds: Json, param: str) -> int:
    """Return the lifetime in an `expires_after` or an `output_expires_after`. Raises `ApiError`.

    Args:
        anchor: The time from which the lifetime counts. Only `created_at` is allowed.
        seconds: The lifetime in seconds.
        param: The key that has both.
    """
    if anchor != "created_at":
        raise invalid_value(f"{param}.anchor", anchor, "'created_at'")
    if type(seconds) is not int or not MIN_EXPIRY_SECONDS <= seconds <= MAX_EXPIRY_SECONDS:
        raise invalid_value(
            f"{param}.seconds", seconds, f"a whole number from {MIN_EXPIRY_SECONDS:,} to {MAX_EXPIRY_SECONDS:,}"
        )
    return int(seconds)


MIN_EXPIRY_SECONDS = 3_600
MAX_EXPIRY_SECONDS = 30 * 86_400
