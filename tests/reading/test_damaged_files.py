"""A damaged or random file is refused in one error: it ends no process and leaves no traceback."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable
from typing import Any

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from jobs.errors import InvalidInput, QwenBatchError
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_reader import ReadingOptions, RowReader

ROWS: list[dict[str, Any]] = [
    {"id": str(number), "prompt": f"What is {number}? ü", "tags": ["x"] * (number % 3)} for number in range(40)
]
FILES_PER_CONTAINER = 60


def jsonl() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def json_array() -> bytes:
    return json.dumps({"data": ROWS}, indent=1).encode()


def csv() -> bytes:
    return b"id,prompt\n" + b"".join(f'{row["id"]},"{row["prompt"]}"\n'.encode() for row in ROWS)


def parquet_file() -> bytes:
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), content)
    return content.getvalue()


def arrow_file() -> bytes:
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_file(content, table.schema) as file:
        file.write_table(table)
    return content.getvalue()


def arrow_stream() -> bytes:
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_stream(content, table.schema) as file:
        file.write_table(table)
    return content.getvalue()


def check(content: bytes) -> int:
    """Check a file, as the command does. Returns its number of lines."""
    reader = RowReader.of("file", lambda: io.BytesIO(content), ReadingOptions())
    with PromptFile(["file"], [reader], lambda: None) as file:
        file.columns()
        file.first_model()
        return file.check(skip_invalid=True).report.num_lines


def said(content: bytes) -> str | None:
    """Check a file. Returns why it is refused, or None."""
    try:
        check(content)
    except QwenBatchError as refusal:
        return str(refusal)
    return None


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
    return bytes(changed)


@pytest.mark.parametrize("container", [jsonl, json_array, csv, parquet_file, arrow_file, arrow_stream])
@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_a_damaged_file_is_read_or_refused(container: Callable[[], bytes], compress: Callable[[bytes], bytes]) -> None:
    luck, whole = random.Random(7), container()
    refused = 0
    assert check(compress(whole)) == len(ROWS)
    for number in range(FILES_PER_CONTAINER if compress is bytes else FILES_PER_CONTAINER // 4):
        content = damaged(whole, luck) if number % 2 else whole
        packed = compress(content)
        refused += said(packed if content is not whole else damaged(packed, luck)) is not None
    assert refused > 0


@pytest.mark.parametrize("length", [0, 1, 7, 64, 300])
def test_random_bytes_are_refused(length: int) -> None:
    luck = random.Random(length)
    for start in (b"", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"\x1f\x8b", b"BZh9", b"{", b"[", b"a,b\n"):
        with pytest.raises(InvalidInput):
            check(start + luck.randbytes(length))


@pytest.mark.parametrize("offset", [2**31 - 1, 2**20, -5])
@pytest.mark.parametrize("container", [arrow_file, arrow_stream])
def test_an_offset_outside_of_an_arrow_file_is_refused(container: Callable[[], bytes], offset: int) -> None:
    texts = pyarrow.array([row["prompt"] for row in ROWS])
    offsets = texts.buffers()[1].to_pybytes()
    wrong = offsets[:8] + offset.to_bytes(4, "little", signed=True) + offsets[12:]
    content = container()
    assert content.count(offsets) == 1
    with pytest.raises(InvalidInput, match="file cannot be read as Arrow: "):
        check(content.replace(offsets, wrong))
