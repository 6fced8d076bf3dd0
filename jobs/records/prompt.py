"""One checked input line, independent of the file's format."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jobs.records.sampling import NOTHING_SAID, SamplingSettings

NO_COLUMNS = msgspec.Raw(b"")
Endpoint = Literal["native", "chat", "completions", "responses"]


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a prompt file, as the store keeps it and a worker runs it.

    Exactly one of `text`, `token_ids`, `messages` and `invalid` is set. A line with `invalid` is a bad line that
    `--skip-invalid` accepted. The worker does not run it, but writes an `invalid_line` result.
    """

    index: int  # position among the file's non-blank lines, from 0; results keep this order
    id: str  # unique in its job; empty for a bad line without its own id, which `line` identifies
    text: str | None = None  # raw text, tokenised without a template
    token_ids: tuple[int, ...] | None = None  # used unchanged
    messages: tuple[dict[str, Any], ...] | None = None  # rendered by the model's chat template
    endpoint: Endpoint = "native"  # decides the format of the result line
    settings: SamplingSettings = NOTHING_SAID
    return_token_ids: bool = False
    chat_template_kwargs: dict[str, Any] = {}
    invalid: str | None = None  # the line's fault, for its author
    columns: msgspec.Raw = NO_COLUMNS  # the line's further keys with their values, one JSON object
    include_reasoning: bool = True  # False: results leave out the text of the thought
    line: int | None = None  # the line's number in the file, from 1; only for a bad line without its own id
    source: str | None = None  # name of the line's file; only if the job was made of several files
