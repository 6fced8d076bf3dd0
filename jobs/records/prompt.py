"""One input line, checked and in one shape whatever format the file had."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jobs.records.sampling import NOTHING_SAID, SamplingSettings

Endpoint = Literal["native", "chat", "completions"]


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a prompt file, as the store keeps it and a worker runs it.

    Exactly one of `text`, `token_ids` and `messages` is given, or else `invalid`: a line that `--skip-invalid` let
    through, which the worker turns into an `invalid_line` result without running anything.
    """

    index: int  # position among the file's non-blank lines, from 0; results keep this order
    id: str  # unique in its job; empty for a bad line that has no id of its own: `line` names that one
    text: str | None = None  # raw text, fed as it is
    token_ids: tuple[int, ...] | None = None  # fed as they are
    messages: tuple[dict[str, Any], ...] | None = None  # go through the model's chat template
    endpoint: Endpoint = "native"  # decides the shape of the result line
    settings: SamplingSettings = NOTHING_SAID
    return_token_ids: bool = False
    chat_template_kwargs: dict[str, Any] = {}
    invalid: str | None = None  # what is wrong with the line, for the person who wrote it
    line: int | None = None  # its number in the file, from 1; only for a bad line without an id of its own
