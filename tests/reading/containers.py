"""Files in every container, and what happens to files on their way: bytes change, vanish and come in."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow
import zstandard
from pyarrow import parquet

Rows = Sequence[dict[str, Any]]


def jsonl(rows: Rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def json_array(rows: Rows) -> bytes:
    return json.dumps({"data": rows}, indent=1).encode()


def csv_file(rows: Rows, delimiter: str = ",") -> bytes:
    """CSV of the first row's columns. Values that are no texts become JSON."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(rows[0])
    for row in rows:
        cells = [row.get(name, "") for name in rows[0]]
        writer.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])
    return text.getvalue().encode()


def tsv_file(rows: Rows) -> bytes:
    return csv_file(rows, "\t")


def text_file(rows: Rows) -> bytes:
    return "".join(f"{row.get('prompt')}\n" for row in rows).encode()


def parquet_file(rows: Rows) -> bytes:
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), content)
    return content.getvalue()


def arrow_file(rows: Rows) -> bytes:
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(list(rows))
    with pyarrow.ipc.new_file(content, table.schema) as file:
        file.write_table(table)
    return content.getvalue()


def arrow_stream(rows: Rows) -> bytes:
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(list(rows))
    with pyarrow.ipc.new_stream(content, table.schema) as file:
        file.write_table(table)
    return content.getvalue()


CONTAINERS: tuple[Callable[[Rows], bytes], ...] = (
    *(jsonl, json_array, csv_file, tsv_file, text_file),
    *(parquet_file, arrow_file, arrow_stream),
)
COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (
    *(bytes, gzip.compress, bz2.compress, lzma.compress),
    zstandard.ZstdCompressor().compress,
)


def damaged(content: bytes, luck: random.Random) -> bytes:
    """Change some bytes, cut some out, put some in, or cut the end off."""
    changed = bytearray(content)
    for _ in range(luck.randint(1, 4)):
        place = luck.randrange(len(changed))
        match luck.randrange(4):
            case 0:
                changed[place] = luck.randrange(256)
            case 1:
                del changed[place : place + luck.randint(1, 20)]
            case 2:
                changed[place:place] = luck.randbytes(8)
            case _ if place:
                del changed[place:]
        changed = changed or bytearray(b" ")
    return bytes(changed)
