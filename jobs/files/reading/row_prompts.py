"""Make prompts of rows: with a template, a system message and a column of ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from jobs.files.formats.json_line import raw_columns
from jobs.files.reading.row import RefusedRow, Row, TemplatedRow
from jobs.templates.conversation import Conversation, roles_of, sources_of
from jobs.templates.row_template import RowTemplate

_ROWS_PER_REQUEST = 256
_BYTES_PER_REQUEST = 2**20

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class PromptOptions:
    """How a row becomes a prompt, as far as its user says."""

    template: str | Conversation | None = None  # jinja2 text, or several; the variables are the row's columns
    system: str | None = None  # text of the system message
    raw: bool = False  # True: the template's text is a raw prompt, not a user's message
    id_column: str | None = None  # column whose value is the row's id
    number_rows: bool = False  # True: with a template, no column is an id, and each row's number is its id

    @classmethod
    def said(cls, template: str | Conversation | None, system: str | None, raw: bool, id_column: str | None) -> Self:
        """Return the options that a user says. The column of ids `none` numbers the rows."""
        number_rows = id_column == "none"
        return cls(template, system, raw, None if number_rows else id_column, number_rows)

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

    def id_column(self, default: str) -> str | None:
        """Return the name of the column of ids, which is `default` if the user names none. None if there is none."""
        return None if self._options.number_rows else self._options.id_column or default

    def lines(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows as lines with `prompt` or `messages`, in order.

        A template makes a `TemplatedRow`: the line says only what the template, the system message and the id say.
        Without a template the row itself is the line.

        A row that is no JSON object is passed on unchanged; the decoder of lines refuses it.

        Raises:
            InvalidInput: The template takes too much time or memory.
        """
        with ThreadPoolExecutor(max_workers=1) as helper:
            before: _Batch | None = None
            for some in _batches(rows):
                batch = _Batch(some, _decoded(some), helper)
                batch.render(self._template)
                if before is not None:  # its lines are made while the helper process renders the next batch
                    yield from self._lines_of(before)
                before = batch
            if before is not None:
                yield from self._lines_of(before)

    def _lines_of(self, batch: _Batch) -> Iterator[Row]:
        texts = batch.texts()
        for number, row in batch.rows:
            if number not in batch.decoded:
                yield number, row
                continue
            original, columns = batch.decoded[number]
            made = texts.get(number, ())
            failed = [text for is_good, text in made if not is_good]
            if failed:
                yield number, RefusedRow(f"the template fails: {failed[0]}; {_named(columns)}")
            elif (id_column := self._options.id_column) is not None and columns.get(id_column) is None:
                yield number, RefusedRow(f"the row has no column `{id_column}` for its id; {_named(columns)}")
            elif self._template is None:
                yield number, self._line(columns)
            else:
                yield number, self._templated(original, columns, [text for _, text in made])

    def _templated(self, row: bytes, columns: dict[str, Any], texts: list[str]) -> TemplatedRow:
        line: dict[str, Any] = {}
        if self._options.raw:
            line["prompt"] = texts[0]
        else:
            line["messages"] = list(map(_message, self._roles, texts))
        id_column = self.id_column("id")
        if id_column is not None and id_column in columns:
            line["id"] = columns[id_column]
        if self._options.system is not None:
            _put_before(line, self._options.system)
        rest = _without(id_column, row, columns)
        return TemplatedRow(line, tuple(name for name in columns if name != id_column), rest)

    def _line(self, columns: dict[str, Any]) -> bytes:
        if self._options.id_column is not None:
            columns["id"] = columns.pop(self._options.id_column)
        if self._options.system is not None:
            _put_before(columns, self._options.system)
        return _encode(columns)


class _Batch:
    """Some rows, while a thread waits for their texts."""

    def __init__(self, rows: list[Row], decoded: dict[int, tuple[bytes, dict[str, Any]]], helper: Executor) -> None:
        self.rows = rows
        self.decoded = decoded  # number -> the row as JSON and as an object
        self._helper = helper
        self._rendered: Future[list[tuple[tuple[bool, str], ...]]] | None = None

    def render(self, template: RowTemplate | None) -> None:
        """Begin to render the rows. Does nothing without a template."""
        if template is not None and self.decoded:
            rows = [row for row, _ in self.decoded.values()]
            self._rendered = self._helper.submit(template.render, rows, list(self.decoded))

    def texts(self) -> dict[int, tuple[tuple[bool, str], ...]]:
        """Return for each number the texts or errors of the templates. Waits for them. Raises what rendering raised."""
        return {} if self._rendered is None else dict(zip(self.decoded, self._rendered.result(), strict=True))


def _decoded(rows: Iterable[Row]) -> dict[int, tuple[bytes, dict[str, Any]]]:
    said = {}
    for number, row in rows:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if isinstance(row, bytes):
                said[number] = row, _decode(row)
    return said


def _without(name: str | None, row: bytes, columns: dict[str, Any]) -> msgspec.Raw:
    """Return the JSON of a row without one column, if a name is given. The values stay byte for byte.

    A row that was written by the encoder of this module, as all containers but JSONL do, need not be parsed again.
    """
    if row != _encode(columns):
        return raw_columns(row, (each for each in columns if each != name))
    return msgspec.Raw(
        _encode({key: value for key, value in columns.items() if key != name}) if name in columns else row
    )


def _put_before(line: dict[str, Any], system: str) -> None:
    """Put a system message before the line's messages, or before those of an OpenAI line, if they have none."""
    body = line.get("body")
    holder = body if isinstance(body, dict) else line
    messages = holder.get("messages")
    if isinstance(messages, list) and not any(_role(message) in ("system", "developer") for message in messages[:1]):
        holder["messages"] = [_message("system", system), *messages]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, dict) else None


def _named(columns: dict[str, Any]) -> str:
    names = ", ".join(f"`{name[:60]}`" for name in list(columns)[:20])
    return f"the row's columns are {names or 'none'}"


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1]) if isinstance(row[1], bytes) else 0
        if len(batch) == _ROWS_PER_REQUEST or size >= _BYTES_PER_REQUEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
