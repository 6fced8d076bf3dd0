"""Format a completion as a `response` object, as `/v1/responses` of the OpenAI API returns it."""

from __future__ import annotations

from typing import Any

from jobs.records.completion import Completion
from jobs.records.sampling import FinishReason


def response_object(completion: Completion, model: str, key: str) -> dict[str, Any]:
    """Return a `response` object with one message. `token_ids` is in the message.

    Args:
        completion: A completion without an error.
        model: Name of the model that answered.
        key: Unique part of the object's ids.
    """
    complete = completion.finish_reason is not FinishReason.LENGTH
    status = "completed" if complete else "incomplete"
    message: dict[str, Any] = {
        "id": f"msg_{key}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [{"type": "output_text", "text": completion.text, "annotations": []}],
    }
    if completion.token_ids is not None:
        message["token_ids"] = completion.token_ids
    return {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": int(completion.finished_at),
        "status": status,
        "error": None,
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "model": model,
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(completion),
    }


def _usage(completion: Completion) -> dict[str, Any] | None:
    if completion.usage is None:
        return None
    prompt, new = completion.usage.prompt_tokens, completion.usage.completion_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": new,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + new,
    }
