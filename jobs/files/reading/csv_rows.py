"""Read CSV and TSV: the header names the columns, and each row becomes an object of texts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec

from jobs.errors import InvalidInput
from jobs.files.encoding_advice import encoding_advice
from jobs.files.reading.row import MAX_ROW_BYTES, RefusedRow, SourceRow

DELIMITERS = (",", "\t", ";", "|")

_SNIFFED_ROWS = 50


def sniff_delimiter(head: str) -> str | None:
    """Return the delimiter that gives the first rows one number of cells, at least two. None if no delimiter does.

    Args:
        head: Beginning of the file. Its last row may be incomplete.
    """
    found: dict[str, int] = {}
    for delimiter in DELIMITERS:
        rows = _first_rows(head, delimiter)
        sizes = {len(row) for row in rows}
        if len(sizes) == 1 and (size := sizes.pop()) > 1 and _can_be_header(rows[0]):
            found[delimiter] = size
    return max(found, key=lambda delimiter: found[delimiter]) if found else None


def header_delimiter(head: str) -> str:
    """Return the delimiter that gives the first row the most cells. The comma if there is only one cell."""
    return max(DELIMITERS, key=lambda delimiter: len(next(iter(_first_rows(head, delimiter)), [])))


def looks_like_csv(head: str) -> bool:
    """Return whether a text of unknown format can be nothing but CSV: a header and a row, with at least two cells."""
    delimiter = sniff_delimiter(head)
    return delimiter is not None and len(_first_rows(head, delimiter)) > 1


def csv_rows(stream: BinaryIO, name: str, delimiter: str) -> Iterator[SourceRow]:
    """Yield each row after the header, with its number from 1. Every value is text.

    Args:
        stream: UTF-8, with or without a byte order mark. It stays open.
        name: The source's name for messages.
        delimiter: Character between cells.

    Raises:
        InvalidInput: The text is not UTF-8, the header is unusable, or the quotes do not match.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    encode = msgspec.json.Encoder().encode
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    number = 0
    try:
        header = _checked_header(next((row for row in reader if row), []), name)
        width = len(header)
        for cells in reader:
            if not cells:
                continue  # a blank line
            number += 1
            if len(cells) == width:
                yield number, encode(dict(zip(header, cells, strict=False)))
            else:
                yield number, RefusedRow(f"the row has {len(cells):,} cells; the header names {width:,} columns")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} is not UTF-8: it holds the byte 0x{error.object[error.start]:02x}.",
            encoding_advice(error.object[error.object.rfind(b"\n", 0, error.start) + 1 :], name),
        ) from None
    except csv.Error as error:
        raise InvalidInput(
            f"{name} is not valid CSV after row {number:,}: {_reason(error)}.",
            "Correct the row, or name the format with --input-format.",
        ) from None
    finally:
        with suppress(ValueError):  # the caller has closed the stream already
            text.detach()  # so that the stream stays open


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "expected after" in text:
        return 'a quote within a quoted cell is not doubled (write "" for ")'
    return "a quote is never closed" if text == "unexpected end of data" else text


def _checked_header(header: Sequence[str], name: str) -> list[str]:
    """Return the column names. A column without a name gets its position, such as `column_1`."""
    if not header:
        raise InvalidInput(f"{name} is empty.", "Give a file with a header and at least one row.")
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(header, 1)]
    doubled = [column for column, times in Counter(names).items() if times > 1]
    if doubled:
        raise InvalidInput(f"{name} names the column {doubled[0]!r} more than once.", "Rename one of them.")
    return names


def _can_be_header(row: Sequence[str]) -> bool:
    """Return whether the cells are different texts, and not all empty."""
    named = [cell.strip() for cell in row if cell.strip()]
    return bool(named) and len(set(named)) == len(named) and not any("{" in cell or "\n" in cell for cell in named)


def _first_rows(head: str, delimiter: str) -> list[list[str]]:
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = io.StringIO(head, newline="")
    rows: list[list[str]] = []
    try:
        for row in csv.reader(lines, delimiter=delimiter, strict=True):
            if row:
                rows.append(row)
            if len(rows) > _SNIFFED_ROWS:
                break
    except csv.Error:  # the head may end within quotes
        return rows
    return rows[:-1] if len(rows) > 2 and not head.endswith("\n") else rows
