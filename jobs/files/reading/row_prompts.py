"""Make prompts of rows: with a template, a system message and a column of ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from jobs.files.formats.features.system_message import put_system_message
from jobs.files.formats.json_line import raw_columns
from jobs.files.reading.row import (
    MAX_ROW_BYTES,
    RefusedRow,
    Row,
    SourceRow,
    SourceRows,
    TemplatedRow,
    too_long,
)
from jobs.templates.conversation import Conversation, roles_of, sources_of
from jobs.templates.row_template import RowTemplate, Texts

_ROWS_PER_REQUEST = 256
_BYTES_PER_REQUEST = 2**20
_MAX_BYTES_PER_CHAR = 6  # in JSON: a control character is written as \u and four digits

_SAME_PROMPT = (
    "the template names no column, so all rows would get the same prompt; "
    "write a column as {{ NAME }}, or add {# same #} to the template if all rows shall share one prompt"
)
_SINGLE_BRACES = re.compile(r"\{(\w+)\}")  # the form of a variable in Python's `str.format`

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class PromptOptions:
    """The user's options for making a prompt of each row."""

    template: str | Conversation | None = None  # jinja2 text, or several; the variables are the row's columns
    system: str | None = None  # text of the system message
    raw: bool = False  # True: the template's text is a raw prompt, not a user's message
    id_column: str | None = None  # column whose value is the row's id
    number_rows: bool = False  # True: with a template, no column is an id, and each row's number is its id
    embed: bool = False  # True: the template's text is embedded

    @classmethod
    def said(
        cls,
        template: str | Conversation | None,
        system: str | None,
        raw: bool,
        id_column: str | None,
        embed: bool = False,
    ) -> Self:
        """Return the options that a user says. The column of ids `none` numbers the rows."""
        number_rows = id_column == "none"
        return cls(template, system, raw, None if number_rows else id_column, number_rows, embed)

    @property
    def changes_rows(self) -> bool:
        """True if rows differ from the prompts that are made of them."""
        return (self.template, self.system, self.id_column) != (None, None, None)


class RowPrompts:
    """Makes a line of prompts from each row.

    Args:
        options: What the user said.

    Raises:
        InvalidInput: The template has a fault of syntax.
    """

    def __init__(self, options: PromptOptions) -> None:
        self._options = options
        template = options.template
        self._template = None if template is None else RowTemplate(sources_of(template))
        self._roles = () if template is None else roles_of(template)
        has_system = self._roles[:1] == ("system",)
        self._first = [] if options.system is None or has_system else [_message("system", options.system)]
        self._single_braces = () if template is None else _single_braces(sources_of(template))
        self._names_no_column = template is not None and not any(map(_has_jinja, sources_of(template)))
        self._id_column = self.id_column("id")
        self._other_chars = len(options.system or "") + 100 * len(self._roles)  # of a line, at most
        self.digest = hashlib.blake2b(_encode(options), digest_size=16).hexdigest()

    def id_column(self, default: str) -> str | None:
        """Return the name of the column of ids, which is `default` if the user names none. None if there is none."""
        return None if self._options.number_rows else self._options.id_column or default

    def lines(self, rows: Iterable[SourceRow], encoded_here: bool = False) -> Iterator[Row]:
        """Yield the rows as lines with `prompt` or `messages`, in order.

        A template makes a `TemplatedRow`: the line says only what the template, the system message and the id say.
        Without a template the row itself is the line.

        A row that is no JSON object is passed on unchanged; the decoder of lines refuses it.

        Args:
            rows: The rows.
            encoded_here: True if msgspec wrote the rows' JSON: it has no white space, and no name occurs twice.

        Raises:
            InvalidInput: The template takes too much time or memory.
        """
        before: _Batch | None = None
        for some in _batches(rows):
            texts = [] if before is None else before.texts()
            batch = self._begin(some)
            if before is not None:  # the previous batch becomes lines while the helper process renders the next one
                yield from self._lines_of(before, texts, encoded_here)
            before = batch
        if before is not None:
            yield from self._lines_of(before, before.texts(), encoded_here)

    def _begin(self, rows: list[SourceRow]) -> _Batch:
        """Decode rows. Fill in a plain template, or begin to render the rows."""
        batch = _Batch(rows, [_decoded(row) if type(row) is bytes else None for _, row in rows])
        template = self._template
        if template is None:
            return batch
        others: list[tuple[bytes, int]] = []  # rows for the helper process, with their numbers
        for (number, row), columns in zip(rows, batch.columns, strict=True):
            if columns is not None and isinstance(row, bytes):
                texts = template.texts(columns, len(row))
                batch.filled_in.append(texts)
                if texts is None:
                    others.append((row, number))
        if others:
            batch.texts = template.begin(*zip(*others, strict=True))
        return batch

    def _lines_of(self, batch: _Batch, texts: Iterable[Texts], encoded_here: bool) -> Iterator[Row]:
        rendered, filled_in = iter(texts), iter(batch.filled_in)
        for (number, row), columns in zip(batch.rows, batch.columns, strict=True):
            if columns is None or type(row) is not bytes:
                yield number, row
            elif self._template is None:
                yield number, self._line(columns)
            else:
                made = next(filled_in) or _good_texts(next(rendered), columns)
                yield number, self._templated(row, columns, made, encoded_here)

    def _templated(
        self, row: bytes, columns: dict[str, Any], texts: list[str] | RefusedRow, encoded_here: bool
    ) -> TemplatedRow | RefusedRow:
        for name in self._single_braces:
            if name in columns:
                return RefusedRow(f"the template has {{{name}}} as plain text; the column is {{{{ {name} }}}}")
        if isinstance(texts, RefusedRow):
            return texts
        line = self._line_of(texts)
        id_column = self._id_column
        id = None if id_column is None else columns.get(id_column)
        if id is None and self._options.id_column is not None:
            return self._without_id(columns)
        if self._names_no_column and any(name != id_column for name in columns):
            return RefusedRow(f"{_SAME_PROMPT}; {_named(columns)}")
        without_value = self._template.without_value(columns) if self._template and None in columns.values() else ()
        encoded = row if encoded_here else row.strip()
        is_encoded = encoded_here or encoded == _encode(columns)
        if id_column in columns:
            line["id"] = columns.pop(id_column)
            encoded = _encode(columns) if is_encoded else row
        raw = msgspec.Raw(encoded) if is_encoded else raw_columns(row, columns)
        templated = TemplatedRow(line, tuple(columns), raw, without_value)
        return too_long("row") if self._is_too_long(templated, len(row), texts) else templated

    def _line_of(self, texts: list[str]) -> dict[str, Any]:
        """Return the line of the template's texts, without an id."""
        if self._options.embed:
            return {"embed": texts[0]}
        if self._options.raw:
            return {"prompt": texts[0]}
        return {"messages": [*self._first, *map(_message, self._roles, texts)]}

    def _line(self, columns: dict[str, Any]) -> bytes | RefusedRow:
        if self._options.id_column is not None:
            if columns.get(self._options.id_column) is None:
                return self._without_id(columns)
            columns["id"] = columns.pop(self._options.id_column)
        if self._options.system is not None:
            put_system_message(columns, self._options.system)
        line = _encode(columns)
        return line if len(line) <= MAX_ROW_BYTES else too_long("row")

    def _without_id(self, columns: dict[str, Any]) -> RefusedRow:
        return RefusedRow(f"the row has no column `{self._options.id_column}` for its id; {_named(columns)}")

    def _is_too_long(self, templated: TemplatedRow, row_bytes: int, texts: list[str]) -> bool:
        """Return whether a row with its texts takes more than `MAX_ROW_BYTES`. Almost all are far below."""
        if 3 * row_bytes + _MAX_BYTES_PER_CHAR * (sum(map(len, texts)) + self._other_chars) <= MAX_ROW_BYTES:
            return False
        return len(_encode(templated)) > MAX_ROW_BYTES


class PromptRows:
    """Lines of prompts that are made of the rows of one pass.

    Args:
        rows: Rows of the source.
        prompts: Makes the lines.
        encoded_here: As in `RowPrompts.lines`.
    """

    def __init__(self, rows: SourceRows, prompts: RowPrompts, encoded_here: bool) -> None:
        self._rows = rows
        self._prompts = prompts
        self._encoded_here = encoded_here

    @property
    def digest(self) -> str:
        """Hash of the source's rows and of the options, in hexadecimal."""
        return hashlib.blake2b(f"{self._rows.digest} {self._prompts.digest}".encode(), digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[Row]:
        """Iterate once over the lines. Raises `InvalidInput` if reading or a template fails."""
        return self._prompts.lines(self._rows, self._encoded_here)


@dataclass
class _Batch:
    """Some rows, while the helper process renders them."""

    rows: list[SourceRow]
    columns: list[dict[str, Any] | None]  # columns of each row; None if the row is no JSON object
    filled_in: list[list[str] | None] = field(default_factory=list)  # per row that is an object; None: it is rendered
    texts: Callable[[], list[Texts]] = list  # waits for what the templates make of each row that is rendered


def _decoded(row: bytes) -> dict[str, Any] | None:
    try:
        return _decode(row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _good_texts(rendered: Texts, columns: dict[str, Any]) -> list[str] | RefusedRow:
    """Return the texts that the templates made of a row, or why one of them fails."""
    for is_good, text in rendered:
        if not is_good:
            return RefusedRow(f"the template fails: {text.rstrip('.')}; {_named(columns)}")
    return [text for _, text in rendered]


def _single_braces(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the names in single braces, such as `{text}`. Empty if the templates use jinja2's own braces.

    Each row would get the same text, with `{text}` in it.
    """
    if any(map(_has_jinja, sources)):
        return ()
    return tuple(dict.fromkeys(name for source in sources for name in _SINGLE_BRACES.findall(source)))


def _has_jinja(source: str) -> bool:
    """Return whether a template has an expression, a statement or a comment. A comment shows that its text is meant."""
    return any(mark in source for mark in ("{{", "{%", "{#"))


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _named(columns: dict[str, Any]) -> str:
    names = ", ".join(f"`{name[:60]}`" for name in list(columns)[:20])
    return f"the row's columns are {names or 'none'}"


def _batches(rows: Iterable[SourceRow]) -> Iterator[list[SourceRow]]:
    batch: list[SourceRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1]) if type(row[1]) is bytes else 0
        if len(batch) == _ROWS_PER_REQUEST or size >= _BYTES_PER_REQUEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
