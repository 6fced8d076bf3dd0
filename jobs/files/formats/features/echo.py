"""Read what a body of `/v1/completions` says about the repetition of its prompt."""

from __future__ import annotations

from msgspec import structs

from jobs.files.formats import values
from jobs.files.formats.json_line import Json, LineInvalid
from jobs.records.prompt import Prompt


def generating(body: dict[str, Json]) -> dict[str, Json]:
    """Return a body that repeats its prompt with 1 for a `max_tokens` of 0, and every other body as it is."""
    return body | {"max_tokens": 1} if body.get("echo") is True and _asks_for_nothing_new(body) else body


def with_echo(prompt: Prompt, body: dict[str, Json]) -> Prompt:
    """Return the prompt with what the body says about its repetition.

    Raises:
        LineInvalid: `echo` is neither true nor false, or its text is not known.
    """
    if not values.flag(body, "echo"):
        return prompt
    if prompt.truncate_prompt_tokens is not None:
        raise LineInvalid("`echo` and `truncate_prompt_tokens` cannot be used together; leave one of them out")
    if prompt.logprobs is None and any(part.token_ids is not None for part in prompt.parts()):
        raise LineInvalid("`echo` of token ids needs `logprobs`; give the prompt as a text, or add `logprobs: 0`")
    return structs.replace(prompt, echo="prompt" if _asks_for_nothing_new(body) else "all")


def _asks_for_nothing_new(body: dict[str, Json]) -> bool:
    value = body.get("max_tokens")
    return type(value) in (int, float) and value == 0
