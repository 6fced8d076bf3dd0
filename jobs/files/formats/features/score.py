"""Read the choices of a line that asks how likely the model finds each of them."""

from __future__ import annotations

from msgspec import structs

from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.known_fields import SETTING_KEYS
from jobs.records.prompt import MAX_SCORED, Prompt
from jobs.records.sampling import MAX_STOP_STRING_CHARS

# Keys about completions. A line that is scored has none.
_WITHOUT_MEANING = (
    *(*SETTING_KEYS, "logprobs", "top_logprobs", "n", "return_token_ids", "include_reasoning"),
    *("truncate_prompt_tokens", "tool_choice"),
)


def asks_for_scores(line: dict[str, Json]) -> bool:
    """Return whether a native line has choices to score. A `score` that is no list of texts is a column."""
    value = line.get("score")
    return type(value) is list and len(value) > 0 and set(map(type, value)) == {str}


def with_score(prompt: Prompt, line: dict[str, Json]) -> Prompt:
    """Return the prompt with the choices of its line.

    Raises:
        LineInvalid: A choice cannot be used, or the line asks for something else as well.
    """
    for key in _WITHOUT_MEANING:
        if line.get(key) is not None and (key, line[key]) != ("n", 1):
            raise LineInvalid(f"`{key}` has no meaning beside `score`, because no text is generated; leave it out")
    scored = structs.replace(prompt, score=choices("score", line["score"]))
    check_scoring(scored)
    return scored


def choices(key: str, value: Json) -> tuple[str, ...]:
    """Return the choices of a list. Raises `LineInvalid`."""
    if type(value) is not list or not value:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a list of texts")
    if len(value) > MAX_SCORED:
        raise LineInvalid(f"`{key}` has {len(value):,} choices; at most {MAX_SCORED} are allowed")
    for place, choice in enumerate(value):
        if type(choice) is not str or not 0 < len(choice) <= MAX_STOP_STRING_CHARS:
            raise LineInvalid(
                f"`{key}[{place}]` is {shown(choice)}; it must be a text of 1 to {MAX_STOP_STRING_CHARS:,} characters"
            )
        if choice in value[:place]:
            raise LineInvalid(f"`{key}` has the choice {shown(choice)} twice; choices must differ")
    return tuple(value)


def check_scoring(prompt: Prompt) -> None:
    """Refuse a line that asks for scores and for something else, also if its job's options do. Raises `LineInvalid`."""
    if prompt.endpoint != "native":
        raise LineInvalid("scores are only for native lines, and this line is in the OpenAI format")
    if prompt.n > 1 or prompt.logprobs is not None or prompt.constraint is not None:
        what = "several completions" if prompt.n > 1 else "log-probabilities"
        what = "a schema or another constraint" if prompt.constraint is not None else what
        raise LineInvalid(f"the line asks for scores and for {what}; it can only have one of the two")
    if prompt.messages is not None and prompt.chat_template_kwargs.get("enable_thinking") is True:
        raise LineInvalid("`enable_thinking` is true, but choices are scored without a thought; leave it out")
