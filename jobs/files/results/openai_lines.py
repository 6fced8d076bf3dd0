"""Format result lines like those in the output file and the error file of the OpenAI Batch API.

The ids in a result line are derived from the job's id and the line's index. Therefore two calls of `results` give the
same bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from jobs.files.results.called_tools import call_id, call_objects
from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.reasoning import ReasoningField, reasoning_keys
from jobs.files.results.response_objects import response_object
from jobs.records.completion import Choice, Completion, ErrorCode, LineError
from jobs.records.job import Job
from jobs.records.prompt import NO_COLUMNS

_encode = msgspec.json.Encoder().encode

# Lines that never ran have no response. Other failed lines have a response with an HTTP status code.
_NO_RESPONSE = {ErrorCode.CANCELLED: "batch_cancelled", ErrorCode.EXPIRED: "batch_expired"}
_STATUS_CODES = {
    ErrorCode.INVALID_LINE: 400,
    ErrorCode.PROMPT_TOO_LONG: 400,
    ErrorCode.WORKER_LOST: 500,
    ErrorCode.INTERNAL_ERROR: 500,
}
_CODES = {ErrorCode.PROMPT_TOO_LONG: "context_length_exceeded"}  # the service's own names


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
    key = hashlib.blake2b(f"{job.id}/{completion.index}".encode(), digest_size=12).hexdigest()
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    if completion.error is None:
        response = _response(key, 200, _body(completion, job, key, reasoning))
    elif completion.error.code in _NO_RESPONSE:
        error = {"code": _NO_RESPONSE[completion.error.code], "message": completion.error.message}
    else:
        response = _response(key, _STATUS_CODES[completion.error.code], _error_body(completion.error))
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


def _error_body(error: LineError) -> dict[str, Any]:
    kind = "invalid_request_error" if _STATUS_CODES[error.code] < 500 else "server_error"
    code = _CODES.get(error.code, error.code)
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}


def _body(completion: Completion, job: Job, key: str, reasoning: ReasoningField) -> dict[str, Any]:
    """Return a `chat.completion`, `text_completion` or `response` object. `token_ids` is in the choice, as in vLLM."""
    if completion.endpoint == "responses":
        return response_object(completion, job, key, shows_reasoning=bool(reasoning.names))
    chat = completion.endpoint != "completions"
    choices = []
    for place, choice in enumerate(completion.choices):
        call_ids = [call_id(job.id, completion.index, place, call) for call in range(len(choice.tool_calls))]
        choices.append(_choice(choice, place, chat, reasoning, call_ids))
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{key}",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(completion.finished_at),
        "model": job.spec.model,
        "choices": choices,
        "usage": _usage(completion),
    }


def _choice(choice: Choice, place: int, chat: bool, reasoning: ReasoningField, call_ids: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {"index": place, "logprobs": None, "finish_reason": choice.finish_reason}
    if chat:
        content = None if choice.ended_in_thought or (choice.tool_calls and not choice.text) else choice.text
        result["message"] = {"role": "assistant", "content": content, "refusal": None}
        result["message"] |= reasoning_keys(choice.reasoning, reasoning)
        if choice.tool_calls:
            calls = zip(call_ids, call_objects(choice.tool_calls), strict=True)
            result["message"]["tool_calls"] = [{"id": id, **call} for id, call in calls]
    else:
        result["text"] = choice.text
    if choice.token_ids is not None:
        result["token_ids"] = choice.token_ids
    if choice.stop_reason is not None:
        result["stop_reason"] = choice.stop_reason
    return result


def _usage(completion: Completion) -> dict[str, Any] | None:
    if completion.usage is None:
        return None
    prompt, new = completion.usage.prompt_tokens, completion.usage.completion_tokens
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
    if completion.usage.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": completion.usage.reasoning_tokens}
    return usage
