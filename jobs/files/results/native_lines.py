"""Format native result lines, see docs/results-format.md."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.parts.called_tools import call_objects
from jobs.files.results.parts.logprobs import token_objects
from jobs.files.results.parts.reasoning import ReasoningField, reasoning_keys
from jobs.files.results.parts.scores import label_scores, score_objects
from jobs.files.results.pooled.bodies import pooled_fields
from jobs.records.completion import Choice, Completion
from jobs.records.prompt import NO_COLUMNS

_encode = msgspec.json.Encoder().encode


def native_fields(
    completion: Completion, kept: LineInput = NO_INPUT, reasoning: ReasoningField = ReasoningField.REASONING
) -> dict[str, Any]:
    """Return the fields of a result, without the line's columns.

    It has `token_ids` only if the line requested them, and `line` only for a bad line without its own id. `source` has
    the line's file, if the job was made of several files. `choices` has all completions of a line that asks for
    several. `reasoning` names the field of the thought, which only completions with a thought have. A line that asks
    for embeddings or a ranking has these instead of a text.
    """
    result: dict[str, Any] = {"id": completion.id if completion.line is None else None}
    if completion.pools:
        result |= pooled_fields(completion)
    else:
        result["completion"] = completion.text
        result |= reasoning_keys(completion.reasoning, reasoning)
        result["finish_reason"] = completion.finish_reason
    result |= {"usage": completion.usage, "error": completion.error, **_rare_keys(completion)}
    if completion.label_probs:
        result["scores"] = label_scores(completion)
    if completion.scores:
        result |= {"best": completion.text, "scores": score_objects(completion.scores)}
    if completion.more_choices:
        result["choices"] = [_choice(choice, place, reasoning) for place, choice in enumerate(completion.choices)]
    if completion.line is not None:
        result["line"] = completion.line
    if kept.source is not None:
        result["source"] = kept.source
    return result


def native_line(
    completion: Completion, kept: LineInput = NO_INPUT, reasoning: ReasoningField = ReasoningField.REASONING
) -> bytes:
    """Format one result as a line of JSON, including the newline. `input` has the line's columns, if there are any."""
    result = native_fields(completion, kept, reasoning)
    if kept.columns != NO_COLUMNS:
        result["input"] = kept.columns
    return _encode(result) + b"\n"


def _choice(choice: Choice, place: int, reasoning: ReasoningField) -> dict[str, Any]:
    """Return one of several completions of a line, with the keys of a result."""
    return {
        "index": place,
        "completion": choice.text,
        **reasoning_keys(choice.reasoning, reasoning),
        "finish_reason": choice.finish_reason,
        **_rare_keys(choice),
    }


def _rare_keys(of: Completion | Choice) -> dict[str, Any]:
    """Return the keys that only some completions have."""
    keys: dict[str, Any] = {}
    if of.tool_calls:
        keys["tool_calls"] = call_objects(of.tool_calls)
    if of.logprobs is not None:
        keys["logprobs"] = token_objects(of.logprobs)
    if of.token_ids is not None:
        keys["token_ids"] = of.token_ids
    if of.stop_reason is not None:
        keys["stop_reason"] = of.stop_reason
    return keys
