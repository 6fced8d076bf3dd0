"""Make the bodies of HTTP responses: a completion or an error as an object of the OpenAI API.

The ids in an object are derived from its origin, so two calls give the same ids.
"""

from __future__ import annotations

import hashlib
from typing import Any

from jobs.files.results.origin import Origin
from jobs.files.results.parts.called_tools import call_objects_with_ids
from jobs.files.results.parts.logprobs import chat_logprobs, text_logprobs
from jobs.files.results.parts.reasoning import ReasoningField, reasoning_keys
from jobs.files.results.parts.scores import score_body
from jobs.files.results.pooled.bodies import embedding_body, ranking_body
from jobs.files.results.response_objects import response_object
from jobs.records.completion import Choice, Completion, ErrorCode, LineError

# HTTP status codes of failed lines that ran, or that could not run.
_STATUS_CODES = {
    ErrorCode.INVALID_LINE: 400,
    ErrorCode.PROMPT_TOO_LONG: 400,
}
_CODES = {ErrorCode.PROMPT_TOO_LONG: "context_length_exceeded"}  # the service's own names


def status_of(error: LineError) -> int:
    """Return the HTTP status code of a line's error: 400 if the line is at fault, else 500."""
    return _STATUS_CODES.get(error.code, 500)


def error_body(error: LineError) -> dict[str, Any]:
    """Return an error in the form of the OpenAI API."""
    kind = "invalid_request_error" if status_of(error) < 500 else "server_error"
    code = _CODES.get(error.code, error.code)
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}


def object_key(origin: Origin, index: int) -> str:
    """Return the unique part of the ids of an object: 24 hexadecimal digits. Every call returns the same digits."""
    return hashlib.blake2b(f"{origin.id}/{index}".encode(), digest_size=12).hexdigest()


def completion_body(
    completion: Completion, origin: Origin, reasoning: ReasoningField = ReasoningField.REASONING_CONTENT
) -> dict[str, Any]:
    """Return the object of the completion's endpoint, such as a `chat.completion`.

    `token_ids` is in the choice, as in vLLM.

    Args:
        completion: A completion without an error.
        origin: Where the completion comes from.
        reasoning: Names the field of a chat message's thought.
    """
    key = object_key(origin, completion.index)
    if completion.endpoint == "score":
        return score_body(completion, origin)
    if completion.endpoint == "embeddings":
        return embedding_body(completion, origin)
    if completion.endpoint == "rerank":
        return ranking_body(completion, origin, key)
    if completion.endpoint == "responses":
        return response_object(completion, origin, key, shows_reasoning=bool(reasoning.names))
    chat = completion.endpoint != "completions"
    choices = []
    for place, choice in enumerate(completion.choices):
        calls = call_objects_with_ids(choice.tool_calls, origin, completion.index, place)
        choices.append(_choice(choice, place, chat, reasoning, calls))
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{key}",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(completion.finished_at),
        "model": origin.model,
        "choices": choices,
        "usage": usage_object(completion),
    }


def _choice(
    choice: Choice, place: int, chat: bool, reasoning: ReasoningField, calls: list[dict[str, Any]]
) -> dict[str, Any]:
    logprobs = chat_logprobs(choice.logprobs) if chat else text_logprobs(choice.logprobs)
    result: dict[str, Any] = {"index": place, "logprobs": logprobs, "finish_reason": choice.finish_reason}
    if chat:
        content = None if choice.ended_in_thought or (choice.tool_calls and not choice.text) else choice.text
        result["message"] = {"role": "assistant", "content": content, "refusal": None}
        result["message"] |= reasoning_keys(choice.reasoning, reasoning)
        if calls:
            result["message"]["tool_calls"] = calls
    else:
        result["text"] = choice.text
    if choice.token_ids is not None:
        result["token_ids"] = choice.token_ids
    if choice.stop_reason is not None:
        result["stop_reason"] = choice.stop_reason
    return result


def usage_object(completion: Completion) -> dict[str, Any] | None:
    """Return the token counts of a chat completion or a text completion, or None if they are not known."""
    if completion.usage is None:
        return None
    prompt, new = completion.usage.prompt_tokens, completion.usage.completion_tokens
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
    if completion.usage.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": completion.usage.reasoning_tokens}
    return usage
