"""Read the body of an interactive request. It may say what the body of a line of a batch may say, and `stream`."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

import msgspec
from msgspec import structs

from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from server.api.body_checks import Json, check_known, checked
from server.middleware.api_error import ApiError

_STREAM_KEYS = ("stream", "stream_options")
_STREAM_OPTIONS = ("include_usage", "include_obfuscation")
_FAULTY_KEY = re.compile(r"`([^`]+)` ")
_UNKNOWN_KEY = re.compile(r'"([^"]+)" is not a known key')
_SEED_BITS = 63


@dataclass(frozen=True)
class StreamWish:
    """The client's wishes for the form of the answer."""

    streams: bool = False
    wants_usage: bool = False  # True: the token counts are a chunk of their own at the end


def read_stream_wish(body: dict[str, Json]) -> StreamWish:
    """Return what a body says about streaming. Raises `ApiError`."""
    said, options = body.get("stream"), body.get("stream_options")
    streams = said is not None and checked(said, bool, "stream")
    if options is None:
        return StreamWish(streams)
    if not streams:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(400, message, param="stream_options", code="invalid_value")
    check_known(checked(options, dict, "stream_options"), _STREAM_OPTIONS)
    for key in _STREAM_OPTIONS:
        checked(options.get(key, False), bool, f"stream_options.{key}")
    return StreamWish(True, options.get("include_usage", False))


def read_prompt(body: dict[str, Json], path: str, card: ModelCard, request_id: str) -> Prompt:
    """Return the prompt of a body, which always has a seed. A body is decoded like that of a batch's line.

    Args:
        body: The body.
        path: Path of the endpoint.
        card: The model that the body names.
        request_id: Becomes the prompt's id.

    Raises:
        ApiError: The body has a fault. `param` names the key of the first fault.
    """
    if "contents" in body:  # the decoder of lines would take the body for a request to another service
        check_known({"contents": None}, ())
    own = {key: value for key, value in body.items() if key not in _STREAM_KEYS}
    line = msgspec.json.encode({"custom_id": request_id, "method": "POST", "url": path, "body": own})
    prompt = LineDecoder(LineRules(card=card, keep=())).decode(line, 0, 1)
    if prompt.invalid is not None:
        raise _fault(prompt.invalid, body)
    if prompt.settings.seed is not None:
        return prompt
    return structs.replace(prompt, settings=structs.replace(prompt.settings, seed=secrets.randbits(_SEED_BITS)))


def _fault(faults: str, body: dict[str, Json]) -> ApiError:
    """Return the error for the faults of a line, of which there is one per text line."""
    message = "; ".join(faults.splitlines())
    message = f"{message[:1].upper()}{message[1:]}{'' if message.endswith('?') else '.'}"
    if unknown := _UNKNOWN_KEY.match(faults):
        return ApiError(400, message, param=unknown[1], code="unknown_parameter")
    found = _FAULTY_KEY.match(faults)
    param = None if found is None else found[1]
    is_missing = param is not None and body.get(param.partition("[")[0].partition(".")[0]) is None
    code = "missing_required_parameter" if is_missing else "invalid_value"
    return ApiError(400, message, param=param, code=code)
