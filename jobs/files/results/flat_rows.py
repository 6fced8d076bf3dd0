"""Format results as flat rows: a line's columns stand beside its completion, as in a table."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.native_lines import native_fields
from jobs.files.results.parts.reasoning import ReasoningField
from jobs.files.results.parts.scores import best_prob
from jobs.files.writing.rows import Layout
from jobs.records.completion import Completion
from jobs.records.job import Format
from jobs.records.prompt import NO_COLUMNS

_ANSWER = ("completion", "finish_reason", "prompt_tokens", "completion_tokens", "error", "error_message")
_POOLED_ANSWER = ("prompt_tokens", "error", "error_message")  # columns of answers without a text
_ONLY_TEXTS = frozenset(_ANSWER) - frozenset(_POOLED_ANSWER)
_POOLED = ("embedding", "embeddings", "results")
_OPTIONAL = (
    *("reasoning", "reasoning_content", "reasoning_tokens", "completions", "tool_calls", "token_ids", "stop_reason"),
    *("logprobs", "prob", "scores"),
    "line",
    "source",  # reserved only if the row names its file
)
_PREFIX = "input_"
_MAX_NAMES = 10_000  # max names of columns that are remembered

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class FlatRows:
    """Makes flat rows of the results of one job.

    A row has the id, then the line's prompt and columns, then the completion. In the OpenAI format, the id is
    `custom_id`. Only a raw prompt is in the row, and only if no column of the line has its name. A line that asks for
    embeddings or a ranking has these instead of a completion.

    Args:
        format: Format of the job's lines.
        reasoning: Column that gets a completion's thought.
    """

    def __init__(self, format: Format, reasoning: ReasoningField = ReasoningField.REASONING) -> None:
        self._reasoning = reasoning
        self.id_name = "id" if format == "native" else "custom_id"
        self._reserved = {self.id_name, *_ANSWER, *_OPTIONAL} - {"source"}
        # Names that were found once, because rows repeat their columns.
        self._names: dict[tuple[str, bool, bool], str] = {}
        self._has_texts = False
        self._has_pooled = False

    def column_name(self, column: str, with_source: bool, pools: bool = False) -> str:
        """Return the name that a line's column has in a row.

        It is the column's own name. A column with the name of a field of the result gets the prefix `input_`. So does
        a column whose name is such a prefixed name. Therefore two columns never get one name.

        Args:
            column: Name of the column.
            with_source: True if the row names its file.
            pools: True if the row has an embedding or a ranking.
        """
        name = self._names.get((column, with_source, pools))
        if name is None:
            bare = column
            while bare.startswith(_PREFIX):
                bare = bare.removeprefix(_PREFIX)
            is_reserved = bare in self._reserved or (with_source and bare == "source") or (pools and bare in _POOLED)
            name = _PREFIX + column if is_reserved else column
            if len(self._names) < _MAX_NAMES:
                self._names[column, with_source, pools] = name
        return name

    def row(self, completion: Completion, kept: LineInput = NO_INPUT) -> bytes:
        """Format one result as a line of JSON, including the newline."""
        fields, pools = native_fields(completion, kept, self._reasoning), completion.pools
        self._has_texts |= completion.text is not None
        self._has_pooled |= pools
        usage, error = fields.pop("usage"), fields.pop("error")
        row = {self.id_name: fields.pop("id")}
        if kept.prompt is not None:
            row["prompt"] = kept.prompt
        if kept.columns != NO_COLUMNS:
            with_source = kept.source is not None
            columns = _decode_raw(kept.columns)
            row |= {self.column_name(name, with_source, pools): value for name, value in columns.items()}
        if pools:
            row["prompt_tokens"] = usage and usage.prompt_tokens
        else:
            row["completion"] = fields.pop("completion")
            row["finish_reason"] = fields.pop("finish_reason")
            row |= {"prompt_tokens": None, "completion_tokens": None}
            row |= {} if usage is None else _filled(usage)
        row["error"] = error and error.code
        row["error_message"] = error and error.message
        if completion.scores:  # the likeliest choice is the row's completion
            del fields["best"]
            row["prob"] = best_prob(completion.scores)
        if "choices" in fields:  # data sets of questions have their own columns of this name
            row["completions"] = fields.pop("choices")
        return _encode(row | fields) + b"\n"

    def layout(self, types: bytes | None) -> Layout:
        """Return the columns of a table of the rows so far.

        A failed line has no text. Therefore, a bad line among lines that ask for embeddings adds no columns of texts.

        Args:
            types: Arrow types of columns (`NewJob.column_types`).
        """
        integers = frozenset({"prompt_tokens", "completion_tokens", "line"})
        if self._has_texts or not self._has_pooled:
            return Layout((self.id_name,), _ANSWER, _OPTIONAL, integers, types)
        optional, float32 = (*_POOLED, *_OPTIONAL), frozenset(_POOLED[:2])
        return Layout((self.id_name,), _POOLED_ANSWER, optional, integers, types, float32, _ONLY_TEXTS)


def _filled(record: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}
