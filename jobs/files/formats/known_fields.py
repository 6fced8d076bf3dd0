"""Every field that a line or its body may have, and what happens to it. A later feature is switched on here.

To switch a feature on, replace its `Refused` by a `Setting`, or take it out and let the format read it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jobs.constraints import requested
from jobs.files.formats import values
from jobs.files.formats.json_line import MAX_SHOWN_CHARS, Json, LineInvalid, shown


@dataclass(frozen=True)
class Setting:
    """A setting. Several fields may spell the same setting."""

    name: str  # field of `SamplingSettings`, `constraint`, or `whitespace` for the white space of a constraint
    read: Callable[[str, Json], Any]  # key and value -> the setting's value, or None for "not set"


@dataclass(frozen=True)
class WithoutEffect:
    """A field about accounts, caches or connections. It is accepted, and a notice says that it has no effect."""


@dataclass(frozen=True)
class Refused:
    """A field of the OpenAI API or of vLLM that is not supported yet."""

    harmless: tuple[Json, ...] = ()  # values that ask for nothing, which are accepted
    instead: str = "leave it out"  # advice: what to do instead


def _max_tokens(key: str, value: Json) -> int:
    return values.integer(key, value, "max_tokens")


def _thinking_budget(key: str, value: Json) -> int:
    return values.integer(key, value, "thinking_token_budget")


def _unless(nothing: Json, read: Callable[[str, Json], Any]) -> Callable[[str, Json], Any]:
    """Return a reader that takes the value `nothing` for "not set"."""

    def read_unless_nothing(key: str, value: Json) -> Any:  # noqa: ANN401 - a setting's value
        found = read(key, value)
        return None if found == nothing else found

    return read_unless_nothing


def _top_k(key: str, value: Json) -> int:
    return 0 if value == -1 and type(value) is int else values.integer(key, value)  # vLLM's -1 keeps all tokens


def _seed(key: str, value: Json) -> int | None:
    return None if value == -1 and type(value) is int else values.integer(key, value)


_SETTINGS: dict[str, Setting] = {
    "max_tokens": Setting("max_tokens", values.integer),
    "max_completion_tokens": Setting("max_tokens", _max_tokens),
    "max_output_tokens": Setting("max_tokens", _max_tokens),
    "max_new_tokens": Setting("max_tokens", _max_tokens),
    "min_tokens": Setting("min_tokens", values.integer),
    "temperature": Setting("temperature", values.number),
    "top_k": Setting("top_k", _top_k),
    "top_p": Setting("top_p", values.number),
    "min_p": Setting("min_p", values.number),
    "presence_penalty": Setting("presence_penalty", values.number),
    "frequency_penalty": Setting("frequency_penalty", values.number),
    "repetition_penalty": Setting("repetition_penalty", values.number),
    "seed": Setting("seed", _seed),
    "stop": Setting("stop", values.stop),
    "stop_token_ids": Setting("stop_token_ids", values.token_ids),
    "ignore_eos": Setting("ignore_eos", values.boolean),
    "include_stop_str_in_output": Setting("include_stop_str_in_output", _unless(False, values.boolean)),
    "skip_special_tokens": Setting("skip_special_tokens", _unless(True, values.boolean)),
    "logit_bias": Setting("logit_bias", _unless((), values.logit_bias)),
    "allowed_token_ids": Setting("allowed_token_ids", values.allowed_token_ids),
    "bad_words": Setting("bad_words", _unless((), values.bad_words)),
    "thinking_token_budget": Setting("thinking_token_budget", _thinking_budget),
    "thinking_budget": Setting("thinking_token_budget", _thinking_budget),
}

_CONSTRAINTS: dict[str, Setting] = {
    "response_format": Setting("constraint", requested.response_format),
    "structured_outputs": Setting("constraint", requested.structured_outputs),
    "guided_json": Setting("constraint", requested.json),
    "guided_json_object": Setting("constraint", requested.json_object),
    "guided_regex": Setting("constraint", requested.regex),
    "guided_choice": Setting("constraint", requested.choice),
    "guided_grammar": Setting("constraint", requested.grammar),
    "guided_whitespace_pattern": Setting("whitespace", values.string),
}

_WITHOUT_EFFECT = (
    *("cache_salt", "guided_decoding_backend", "metadata", "parallel_tool_calls", "priority", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "provider", "request_id", "safety_identifier"),
    *("service_tier", "store", "stream_options", "timeout", "user"),
)

_REFUSED: dict[str, Refused] = {
    "add_generation_prompt": Refused((True,)),
    "add_special_tokens": Refused(),
    "audio": Refused(),
    "best_of": Refused((1,), "ask for `n` completions and choose among them"),
    "chat_template": Refused(),
    "continue_final_message": Refused((False,)),
    "documents": Refused(([],)),
    "echo": Refused((False,)),
    "function_call": Refused(("none", "auto")),
    "functions": Refused(([],)),
    "length_penalty": Refused((1, 1.0)),
    "modalities": Refused((["text"],)),
    "moderation": Refused(),
    "prediction": Refused(),
    "prompt_logprobs": Refused(),
    "repetition_detection": Refused(),
    "spaces_between_special_tokens": Refused((True,)),
    "stream": Refused((False,), "a batch job does not stream"),
    "suffix": Refused(("",)),
    "tool_choice": Refused(("none", "auto")),
    "tools": Refused(([],)),
    "use_beam_search": Refused((False,)),
    "verbosity": Refused(("medium",)),
    "web_search_options": Refused(({},)),
}

FIELDS: Mapping[str, Setting | WithoutEffect | Refused] = {
    **_REFUSED,
    **dict.fromkeys(_WITHOUT_EFFECT, WithoutEffect()),
    **_SETTINGS,
    **_CONSTRAINTS,
}

SETTING_KEYS = (*_SETTINGS, *_CONSTRAINTS)

# Further fields of `/v1/responses`. In a native line, these names are columns.
RESPONSES_FIELDS: Mapping[str, Setting | WithoutEffect | Refused] = {
    **FIELDS,
    "background": Refused((False,)),
    "conversation": Refused((), "put the earlier messages into `input`"),
    "max_tool_calls": Refused(),
    "n": Refused((1,), "write the line several times, each with its own id and seed"),
    "previous_response_id": Refused((), "put the earlier messages into `input`"),
    "prompt": Refused((), "OpenAI keeps the text of this prompt; write it into `instructions`"),
    "truncation": Refused(("disabled",)),
}


# Fields of lines that ask for embeddings or for a ranking, apart from their own. They generate nothing.
POOLING_FIELDS: Mapping[str, Setting | WithoutEffect | Refused] = {
    **dict.fromkeys(_WITHOUT_EFFECT, WithoutEffect()),
    "add_special_tokens": Refused((True,)),
    "normalize": Refused((True,), "embeddings always have the length 1"),
    "rank_fields": Refused(([],), "join the fields to one text per document"),
    "stream": Refused((False,), "the result comes as a whole"),
}


def check_refused(key: str, value: Json, refused: Refused) -> None:
    """Accept an unsupported field only with a value that asks for nothing. Raises `LineInvalid`."""
    if not any(type(value) is type(harmless) and value == harmless for harmless in refused.harmless):
        raise LineInvalid(f"`{key}` is {shown(value)}; it is not supported: {refused.instead}")


def unknown_key(key: str, known: Iterable[str], where: str = "") -> LineInvalid:
    """Return the error for an unknown key. It names the nearest known key, or all known keys if none is near."""
    known = tuple(known)
    nearest = _nearest(key, known, max(1, _edits_allowed(key))) if len(key) <= MAX_SHOWN_CHARS else None
    advice = f"did you mean `{nearest}`?" if nearest else f"known keys are {', '.join(f'`{name}`' for name in known)}"
    return LineInvalid(f"{shown(key)} is not a known key{f' in `{where}`' if where else ''}; {advice}")


def misspelled_key(key: str, known: tuple[str, ...]) -> str | None:
    """Return the known key that a key is most likely meant to be. None if the key is more likely a column.

    A key is a misspelling if it differs by at most two edits and by at most a quarter of its letters. An edit inserts,
    removes or replaces a letter, or swaps two neighbours. So a key of fewer than four letters is no misspelling.
    """
    return _nearest(key, known, _edits_allowed(key)) if len(key) <= MAX_SHOWN_CHARS else None


def _edits_allowed(key: str) -> int:
    return min(2, len(key) // 4)


@lru_cache(maxsize=4096)  # files tend to repeat their keys
def _nearest(key: str, known: tuple[str, ...], allowed: int) -> str | None:
    alike = [name for name in known if abs(len(name) - len(key)) <= allowed]
    near = [(edits, name) for name in alike if (edits := _edits(key.lower(), name, allowed)) <= allowed]
    return min(near)[1] if near else None


def _edits(one: str, other: str, enough: int) -> int:
    """Return the optimal string alignment distance of two words. Source: Damerau, CACM 7(3), 1964.

    A distance of more than `enough` may come out too small, but never as `enough` or less. Tables can have thousands of
    columns, and most names differ early.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, last[j - 2] + 1)
            row.append(best)
        if min(row) > enough:
            return min(row)
    return row[-1]
