"""Rows of a source: what every reader of a container yields."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import msgspec

from jobs.errors import InvalidInput

MAX_ROW_BYTES = 10 * 2**20


@dataclass(frozen=True)
class RefusedRow:
    """A row that cannot become a JSON object, and the reason for its author."""

    reason: str


class TemplatedRow(msgspec.Struct, frozen=True):
    """A line of prompts that a template made of a row. The row is data: none of its columns is a key of the line."""

    line: dict[str, Any]  # object with only an id and the prompt
    names: tuple[str, ...]  # names of the columns
    columns: msgspec.Raw  # JSON object of the row's columns, without the column of ids
    without_value: tuple[str, ...] = ()  # columns without a value, for which the prompt has the word None


SourceRow = tuple[int, bytes | RefusedRow]  # number in the source, from 1; JSON of one object
Row = tuple[int, bytes | TemplatedRow | RefusedRow]  # what the row becomes, if a template makes prompts of rows


class Rows(Protocol):
    """One pass over the rows of a source."""

    @property
    def digest(self) -> str:
        """Hash of all content that has been read so far, in hexadecimal."""
        ...

    def __iter__(self) -> Iterator[Row]:
        """Iterate once over the rows, in order. Blank rows are left out."""
        ...


class SourceRows(Protocol):
    """One pass over the rows of a source, before a template makes prompts of them."""

    @property
    def digest(self) -> str:
        """Hash of all content that has been read so far, in hexadecimal."""
        ...

    def __iter__(self) -> Iterator[SourceRow]:
        """Iterate once over the rows, in order. Blank rows are left out."""
        ...


class HashedRows:
    """Rows whose digest is a hash of their JSON. A row of more than `MAX_ROW_BYTES` becomes a `RefusedRow`.

    Args:
        rows: Rows of one pass.
        name: The source's name for messages.
    """

    def __init__(self, rows: Iterable[SourceRow], name: str) -> None:
        self._rows = rows
        self._name = name
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Hash of the rows so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[SourceRow]:
        """Iterate once over the rows. Raises `InvalidInput` if reading fails."""
        update = self._hash.update
        try:
            for number, row in self._rows:
                if isinstance(row, bytes):
                    update(row + b"\n")
                    yield number, row if len(row) <= MAX_ROW_BYTES else too_long("row")
                else:
                    update(f"{number} {row.reason}\n".encode())
                    yield number, row
        except OSError as error:
            raise InvalidInput(f"{self._name} cannot be read: {error.strerror}.") from error


class FirstRows:
    """The first rows of a pass. The digest is the hash of these rows alone.

    Args:
        rows: Rows of one pass.
        limit: Maximum number of rows.
    """

    def __init__(self, rows: SourceRows, limit: int) -> None:
        self._rows = rows
        self._limit = limit

    @property
    def digest(self) -> str:
        """Hash of the rows so far, in hexadecimal."""
        return self._rows.digest

    def __iter__(self) -> Iterator[SourceRow]:
        """Iterate once over the rows. Raises `InvalidInput` if reading fails."""
        return islice(self._rows, self._limit)


def too_long(what: str) -> RefusedRow:
    """Return the refusal of a line or row of more than `MAX_ROW_BYTES`."""
    return RefusedRow(f"the {what} is longer than {MAX_ROW_BYTES // 2**20} MiB, the maximum length")
