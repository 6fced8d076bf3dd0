"""Keys that a line may not have: never ignored, because a typo or a wish must not vanish."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any

from jobs.files.formats.json_line import MAX_SHOWN_CHARS, Json, shown
from jobs.files.formats.line_invalid import LineInvalid

# What the OpenAI API and vLLM define and this service does not do, with the values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "add_special_tokens": (),
    "allowed_token_ids": (),
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template": (),
    "continue_final_message": (False,),
    "documents": ([],),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1, 1.0),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": (True, False),  # without tools it says nothing
    "prediction": (),
    "prompt_logprobs": (),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stream": (False,),
    "stream_options": (),
    "structured_outputs": (),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}

_INSTEAD = {
    "stream": "a batch job does not stream",
    "reasoning_effort": 'switch thinking with `chat_template_kwargs`: {"enable_thinking": false}',
    "n": "write the line n times, each with its own id and seed",
    "best_of": "write the line several times, each with its own id and seed",
}


def refuse_key(key: str, value: Json, known: tuple[str, ...]) -> None:
    """Return if `key` is one of the unsupported with a value that asks for nothing, else raise.

    Args:
        key: A key that is not in `known`.
        value: null asks for nothing, too.
        known: The keys that may stand there, for the message.

    Raises:
        LineInvalid: The key is not supported, or not known; then the nearest known key is named.
    """
    if key not in UNSUPPORTED:
        raise unknown_key(key, known)
    if value is None or any(type(value) is type(harmless) and value == harmless for harmless in UNSUPPORTED[key]):
        return
    instead = _INSTEAD.get(key, "leave it out")
    raise LineInvalid(f"`{key}` is {shown(value)}; it is not supported: {instead}")


def unknown_key(key: str, known: tuple[str, ...], where: str = "") -> LineInvalid:
    """The error for a key that is nowhere defined; it names the nearest known key, or else all of them."""
    nearest = _nearest(key[:MAX_SHOWN_CHARS], known)
    advice = f"did you mean `{nearest}`?" if nearest else f"known keys are {', '.join(f'`{name}`' for name in known)}"
    return LineInvalid(f"{shown(key)} is not a known key{f' in `{where}`' if where else ''}; {advice}")


@lru_cache(maxsize=1024)  # difflib takes a millisecond; a file tends to repeat its mistakes
def _nearest(key: str, known: tuple[str, ...]) -> str | None:
    matches = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    return matches[0] if matches else None
