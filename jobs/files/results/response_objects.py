"""Format a completion as a `response` object, as `/v1/responses` of the OpenAI API returns it."""

from __future__ import annotations

from typing import Any

from jobs.files.results.origin import Origin
from jobs.files.results.parts.called_tools import call_id
from jobs.files.results.parts.logprobs import token_objects
from jobs.records.completion import Completion, ToolCall
from jobs.records.sampling import FinishReason


def response_object(completion: Completion, origin: Origin, key: str, shows_reasoning: bool = True) -> dict[str, Any]:
    """Return a `response` object: the thought, the message and the function calls, as far as there are any.

    `token_ids` is in the last of these items. A completion that ended inside its thought has no message.

    Args:
        completion: A completion without an error.
        origin: Where the completion comes from.
        key: Unique part of the object's ids.
        shows_reasoning: False to leave the thought out.
    """
    complete = completion.finish_reason is not FinishReason.LENGTH
    status = "completed" if complete else "incomplete"
    output: list[dict[str, Any]] = []
    if completion.reasoning is not None and shows_reasoning:
        output.append(_thought(completion.reasoning, key, status if completion.ended_in_thought else "completed"))
    if completion.text or not (completion.ended_in_thought or completion.tool_calls):
        output.append(_message(completion, key, status))
    output += [_call(call, origin, completion.index, place) for place, call in enumerate(completion.tool_calls)]
    if completion.token_ids is not None and output:
        output[-1]["token_ids"] = completion.token_ids
    return {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": int(completion.finished_at),
        "status": status,
        "error": None,
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "model": origin.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(completion),
    }


def _thought(text: str, key: str, status: str) -> dict[str, Any]:
    return {
        "id": f"rs_{key}",
        "type": "reasoning",
        "status": status,
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
    }


def _call(call: ToolCall, origin: Origin, line: int, place: int) -> dict[str, Any]:
    id = call_id(origin, line, 0, place)
    return {
        "id": id.replace("call_", "fc_"),
        "type": "function_call",
        "status": "completed",
        "call_id": id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _message(completion: Completion, key: str, status: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": completion.text, "annotations": []}
    if completion.logprobs is not None:
        part["logprobs"] = token_objects(completion.logprobs)
    return {
        "id": f"msg_{key}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part],
    }


def _usage(completion: Completion) -> dict[str, Any] | None:
    if completion.usage is None:
        return None
    prompt, new = completion.usage.prompt_tokens, completion.usage.completion_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": new,
        "output_tokens_details": {"reasoning_tokens": completion.usage.reasoning_tokens or 0},
        "total_tokens": prompt + new,
    }
