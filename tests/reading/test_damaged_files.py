"""A damaged or random file is refused in one error: it ends no process and leaves no traceback."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pyarrow
import pytest

from jobs.errors import InvalidInput, QwenBatchError
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from tests.reading.containers import (
    COMPRESSIONS,
    Rows,
    arrow_file,
    arrow_stream,
    csv_file,
    damaged,
    json_array,
    jsonl,
    parquet_file,
)

ROWS: list[dict[str, Any]] = [
    {"id": str(number), "prompt": f"What is {number}? ü", "tags": ["x"] * (number % 3)} for number in range(40)
]
FILES_PER_CONTAINER = 60


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


@pytest.mark.parametrize("container", [jsonl, json_array, csv_file, parquet_file, arrow_file, arrow_stream])
@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_a_damaged_file_is_read_or_refused(
    container: Callable[[Rows], bytes], compress: Callable[[bytes], bytes]
) -> None:
    luck, whole = random.Random(7), container(ROWS)
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
def test_an_offset_outside_of_an_arrow_file_is_refused(container: Callable[[Rows], bytes], offset: int) -> None:
    texts = pyarrow.array([row["prompt"] for row in ROWS])
    offsets = texts.buffers()[1].to_pybytes()
    wrong = offsets[:8] + offset.to_bytes(4, "little", signed=True) + offsets[12:]
    content = container(ROWS)
    assert content.count(offsets) == 1
    with pytest.raises(InvalidInput, match="file cannot be read as Arrow: "):
        check(content.replace(offsets, wrong))
