"""Format result lines like those in the output file and the error file of the OpenAI Batch API.

The ids in a result line are derived from the job's id and the line's index. Therefore two calls of `results` give the
same bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.origin import Origin
from jobs.files.results.parts.reasoning import ReasoningField
from jobs.files.results.response_bodies import completion_body, error_body, object_key, status_of
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Job
from jobs.records.prompt import NO_COLUMNS

_encode = msgspec.json.Encoder().encode

# Lines that never ran have no response. Other failed lines have a response with an HTTP status code.
_NO_RESPONSE = {ErrorCode.CANCELLED: "batch_cancelled", ErrorCode.EXPIRED: "batch_expired"}


def openai_line(
    completion: Completion,
    job: Job,
    kept: LineInput = NO_INPUT,
    reasoning: ReasoningField = ReasoningField.REASONING_CONTENT,
) -> bytes:
    """Format one result, a completion or an error, as a line of JSON, including the newline.

    A bad line without its own `custom_id` has null as `custom_id`, and its line number in `line`. `source` has the
    line's file, if the job was made of several files. `input` has the keys that stood beside those of the format.
    `reasoning` names the field of a chat message's thought.
    """
    origin = Origin(job.id, job.spec.model)
    key = object_key(origin, completion.index)
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    if completion.error is None:
        response = _response(key, 200, completion_body(completion, origin, reasoning))
    elif completion.error.code in _NO_RESPONSE:
        error = {"code": _NO_RESPONSE[completion.error.code], "message": completion.error.message}
    else:
        response = _response(key, status_of(completion.error), error_body(completion.error))
    custom_id = completion.id if completion.line is None else None
    result: dict[str, Any] = {"id": f"batch_req_{key}", "custom_id": custom_id, "response": response, "error": error}
    if completion.line is not None:
        result["line"] = completion.line
    if kept.source is not None:
        result["source"] = kept.source
    if kept.columns != NO_COLUMNS:
        result["input"] = kept.columns
    return _encode(result) + b"\n"


def _response(key: str, status_code: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"status_code": status_code, "request_id": f"req_{key}", "body": body}
