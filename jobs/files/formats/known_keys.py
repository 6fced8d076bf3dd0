"""Refuse unknown and unsupported keys of a line. Ignoring them would hide a typo or a missing feature."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any

from jobs.files.formats.json_line import MAX_SHOWN_CHARS, Json, LineInvalid, shown

# Keys of the OpenAI API and vLLM that this service does not support. Their listed values have no effect, so they are
# accepted.
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
    "parallel_tool_calls": (True, False),  # no effect without tools
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
    """Refuse a key, unless it is an unsupported key with a value that has no effect.

    Args:
        key: A key that is not in `known`.
        value: The key's value. null has no effect for every unsupported key.
        known: The allowed keys, for the message.

    Raises:
        LineInvalid: The key is unsupported or unknown. For an unknown key, the message names the nearest known key.
    """
    if key not in UNSUPPORTED:
        raise unknown_key(key, known)
    if value is None or any(type(value) is type(harmless) and value == harmless for harmless in UNSUPPORTED[key]):
        return
    instead = _INSTEAD.get(key, "leave it out")
    raise LineInvalid(f"`{key}` is {shown(value)}; it is not supported: {instead}")


def unknown_key(key: str, known: tuple[str, ...], where: str = "") -> LineInvalid:
    """Return the error for an unknown key. It names the nearest known key, or all known keys if none is near."""
    nearest = _nearest(key[:MAX_SHOWN_CHARS], known)
    advice = f"did you mean `{nearest}`?" if nearest else f"known keys are {', '.join(f'`{name}`' for name in known)}"
    return LineInvalid(f"{shown(key)} is not a known key{f' in `{where}`' if where else ''}; {advice}")


@lru_cache(maxsize=1024)  # a search takes 1 ms, and files tend to repeat their mistakes
def _nearest(key: str, known: tuple[str, ...]) -> str | None:
    matches = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    return matches[0] if matches else None
