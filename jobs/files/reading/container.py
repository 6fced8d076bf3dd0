"""Recognise the container of a source from its content."""

from __future__ import annotations

import codecs
from enum import StrEnum

import msgspec

from jobs.files.reading.arrow_rows import is_arrow, is_parquet
from jobs.files.reading.csv_rows import looks_like_csv
from jobs.files.reading.json_items import HEAD_BYTES, array_start

_SPACE = b" \t\r\n"
_CSV_NAMES = (".csv", ".tsv", ".tab")
# Keys of a line of prompts. An object with one of them is a line, even if it also has an array named `examples`.
_LINE_KEYS = frozenset({"prompt", "messages", "custom_id", "body"})


class Container(StrEnum):
    """A format of files of rows."""

    JSONL = "jsonl"  # one JSON object per line
    JSON = "json"  # one JSON document with an array of objects
    CSV = "csv"  # a header and rows; the delimiter is found in the content
    TSV = "tsv"  # CSV whose delimiter is the tab
    PARQUET = "parquet"
    ARROW = "arrow"  # an Arrow file, a Feather file or an Arrow stream
    TEXT = "text"  # one prompt per line


def recognise(head: bytes, name: str) -> Container:
    """Return the container. The name's ending decides only between plain text and CSV of one column.

    Args:
        head: The first `HEAD_BYTES` of the content, after decompression.
        name: The source's name. Endings of compressed files are ignored.
    """
    if is_parquet(head):
        return Container.PARQUET
    if is_arrow(head):
        return Container.ARROW
    head = head.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)
    name = _bare_name(name)
    if head.startswith((b"{", b"[")):
        return Container.JSON if _is_document(head) else Container.JSONL
    if name.endswith(".txt"):
        return Container.TEXT
    if name.endswith(_CSV_NAMES):
        return Container.TSV if name.endswith((".tsv", ".tab")) else Container.CSV
    is_jsonl = name.endswith((".jsonl", ".ndjson", ".json"))
    return Container.CSV if not is_jsonl and looks_like_csv(_text_of(head)) else Container.JSONL


def _bare_name(name: str) -> str:
    name = name.lower()
    for ending in (".gz", ".zst", ".bz2", ".xz"):
        name = name.removesuffix(ending)
    return name


def _text_of(head: bytes) -> str:
    return head.decode(errors="replace")


def _is_document(head: bytes) -> bool:
    """Return whether JSON is one document with an array, rather than one JSON object per line."""
    first, _, rest = head.partition(b"\n")
    try:
        value = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _begins_with_array(head)
    if rest.strip(_SPACE) or len(head) >= HEAD_BYTES:
        return False
    if isinstance(value, dict):
        return not _LINE_KEYS & value.keys() and array_start(head) is not None
    return not value or isinstance(value[0], dict | list | str)


def _begins_with_array(head: bytes) -> bool:
    """Return whether a document that goes on after its first line is an array, or names an array of objects."""
    start = array_start(head)
    if start is None:
        return False
    bare_prompts = (b"[", b'"') if head.startswith(b"[") else ()
    return head[start:].lstrip(_SPACE)[:1] in (b"{", b"]", b"", *bare_prompts)
