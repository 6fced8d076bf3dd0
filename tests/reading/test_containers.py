"""Every container gives the same rows, whatever the file's name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import zstandard

from jobs.errors import InvalidInput
from jobs.files.reading.container import Container
from jobs.files.reading.row import MAX_ROW_BYTES, RefusedRow
from jobs.files.reading.row_reader import ReadingOptions, RowReader

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "Is 2 < 3?"},
    {"id": "b", "prompt": 'two\nlines, a comma and a "quote"'},
    {"id": "c", "prompt": "Grüße, 世界 🎉"},
]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard.ZstdCompressor(write_checksum=True).compress,
    "gzip in zstandard": lambda data: zstandard.compress(gzip.compress(data)),
    "two members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "two frames": lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:]),
}


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_table(rows: list[dict[str, Any]], kind: str) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `tables` is not installed")
    from pyarrow import parquet

    table, out = pyarrow.Table.from_pylist(rows), io.BytesIO()
    if kind == "parquet":
        parquet.write_table(table, out)
        return out.getvalue()
    make = pyarrow.ipc.new_file if kind == "arrow file" else pyarrow.ipc.new_stream
    with make(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


CONTAINERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "JSON lines": as_jsonl,
    "one line": lambda rows: as_jsonl([rows]),
    "JSON array": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False).encode(),
    "array in an object": lambda rows: json.dumps({"version": 1, "rows": rows}, indent=1).encode(),
    "array in an object of one line": lambda rows: as_jsonl([{"data": rows}]),
    "CSV": as_csv,
    "CSV with a byte order mark": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "CSV of semicolons": lambda rows: as_csv(rows, ";"),
    "TSV": lambda rows: as_csv(rows, "\t"),
    "Parquet": lambda rows: as_table(rows, "parquet"),
    "Arrow file": lambda rows: as_table(rows, "arrow file"),
    "Arrow stream": lambda rows: as_table(rows, "arrow stream"),
}


def read(content: bytes, name: str = "file", **options: Any) -> list[tuple[int, Any]]:
    reader = RowReader.of(name, lambda: io.BytesIO(content), ReadingOptions(**options))
    with reader.rows() as rows:
        return [(number, json.loads(row) if isinstance(row, bytes) else row) for number, row in rows]


def refusal(content: bytes, name: str = "file", **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        read(content, name, **options)
    return str(error.value)


def numbered(rows: list[Any]) -> list[tuple[int, Any]]:
    return list(enumerate(rows, 1))


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_rows(container: str) -> None:
    assert read(CONTAINERS[container](ROWS)) == numbered(ROWS)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("container", ["JSON lines", "JSON array", "CSV", "Parquet"])
def test_every_compression_is_seen_through(container: str, compression: str) -> None:
    assert read(COMPRESSIONS[compression](CONTAINERS[container](ROWS))) == numbered(ROWS)


@pytest.mark.parametrize("method", ["gzip", "bzip2", "xz", "zstandard"])
def test_compressed_data_that_ends_too_early_is_refused(method: str) -> None:
    data = COMPRESSIONS[method](as_jsonl([{"prompt": str(number)} for number in range(3000)]))
    assert "ends in the middle of its" in refusal(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("method", ["gzip", "bzip2", "xz", "zstandard"])
def test_damaged_compressed_data_is_refused(method: str) -> None:
    data = bytearray(COMPRESSIONS[method](as_jsonl([{"prompt": str(number)} for number in range(3000)])))
    for place in range(len(data) // 2, len(data) // 2 + 40):
        data[place] ^= 0xFF
    said = refusal(bytes(data))
    assert "holds damaged" in said or "ends in the middle" in said


def test_the_digest_tells_two_files_apart() -> None:
    digests = set()
    for rows in (ROWS, ROWS[:2], [*ROWS[:2], {"id": "c", "prompt": "d"}]):
        with RowReader.of("file", partial(io.BytesIO, as_csv(rows)), ReadingOptions()).rows() as found:
            assert len(list(found)) == len(rows)
            digests.add(found.digest)
    assert len(digests) == 3


def test_plain_text_is_a_prompt_per_line() -> None:
    text = b"Name a colour.\n\nName a city, please.\r\n"
    assert read(text, "prompts.txt") == [(1, {"prompt": "Name a colour."}), (3, {"prompt": "Name a city, please."})]
    assert read(text, "prompts", container=Container.TEXT) == read(text, "prompts.txt")


def test_a_line_of_text_that_is_not_utf8_is_refused_alone() -> None:
    rows = read(b"caf\xe9\nthe\n", "a.txt")
    assert rows == [(1, RefusedRow("the line is not UTF-8: byte 0xe9 at position 4")), (2, {"prompt": "the"})]


def test_json_lines_with_arrays_of_their_own_stay_lines() -> None:
    line = {"prompt": "a", "examples": [{"q": "b"}]}
    assert read(as_jsonl([line])) == [(1, line)]
    assert read(as_jsonl([{"data": [{}]}, {"data": [{}]}])) == numbered([{"data": [{}]}] * 2)


def test_items_longer_than_a_read_are_whole() -> None:
    rows = [{"prompt": "ä" * 700_000}, {"prompt": "b"}, {"prompt": "c" * 3_000_000}]
    assert read(json.dumps(rows, ensure_ascii=False, indent=1).encode()) == numbered(rows)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('[{"a": 1},\n{"a": }]', "item 2 of its array"),
        ('[{"a": 1}\n{"a": 2}]', "item 2 of its array: a comma or ] is missing before it"),
        ('[{"a": 1},\n{"a": 2}', "the file ends before the array's ]"),
        ('[{"a": 1},\n{"a": "2', "item 2 of its array"),
        ('[{"a": 1}\n] {"b": 2}', "more text after its JSON array"),
        ("[" + '{"a":' * 100_000, "item 1 of its array: it is nested too deeply"),
    ],
)
def test_a_faulty_document_is_refused_with_the_item(document: str, said: str) -> None:
    assert said in refusal(document.encode())


def test_a_row_of_another_size_than_the_header_is_refused_alone() -> None:
    rows = read(b"id,prompt\na,b\nc\nd,e,f\n", "a.csv")
    assert rows[0] == (1, {"id": "a", "prompt": "b"})
    assert [(number, row.reason) for number, row in rows[1:]] == [
        (2, "the row has 1 cells; the header names 2 columns"),
        (3, "the row has 3 cells; the header names 2 columns"),
    ]


def test_a_row_of_csv_may_be_longer_than_the_default_of_the_library_but_not_than_the_limit() -> None:
    assert read(b"id,prompt\na," + b"x" * 200_000 + b"\n")[0][1]["prompt"] == "x" * 200_000
    half = b"x" * (MAX_ROW_BYTES // 2)
    ((_, row),) = read(b"id,prompt\n" + half + b"," + half + b"\n", "a.csv")
    assert isinstance(row, RefusedRow)
    assert "longer than 10 MiB" in row.reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'id,prompt\na,"b\n', "after row 0: a quote is never closed"),
        (b'id,prompt\na,b\nc,"Read "Emma" now."\n', "after row 1: a quote within a quoted cell is not doubled"),
        (b"id,id\na,b\n", "names the column 'id' more than once"),
        (b"id,prompt\na,caf\xe9\n", "is not UTF-8: it holds the byte 0xe9"),
        (b"", "is empty"),
    ],
)
def test_faulty_csv_is_refused_whole(content: bytes, said: str) -> None:
    assert said in refusal(content, "a.csv")


def test_a_column_without_a_name_is_named_by_its_place() -> None:
    assert read(b",prompt\n0,a\n1,b\n", "a.csv") == numbered(
        [{"column_1": "0", "prompt": "a"}, {"column_1": "1", "prompt": "b"}]
    )


def test_the_delimiter_of_the_user_wins() -> None:
    assert read(b"a:b\n1,2:3,4\n", "a.csv", delimiter=":") == [(1, {"a": "1,2", "b": "3,4"})]


def test_csv_of_one_column_is_known_by_its_name() -> None:
    assert read(b"question\nWhy?\n", "a.csv.gz") == [(1, {"question": "Why?"})]


def test_nested_columns_become_json() -> None:
    rows = [{"messages": [{"role": "user", "content": "Hi"}], "score": 1.5, "ok": True, "none": None, "tags": ["a"]}]
    assert read(as_table(rows, "parquet")) == numbered(rows)


def test_columns_of_times_and_decimals_become_texts() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `tables` is not installed")
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "day": pyarrow.array([19_000], pyarrow.date32()),
            "at": pyarrow.array([1_700_000_000_123_456_789], pyarrow.timestamp("ns")),
            "price": pyarrow.array(["1.50"]).cast(pyarrow.decimal128(5, 2)),
        }
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    assert read(out.getvalue()) == [
        (1, {"day": "2022-01-08", "at": "2023-11-14 22:13:20.123456789", "price": "1.50"}),
    ]


def test_a_table_that_is_cut_off_is_refused() -> None:
    assert "cannot be read as Parquet" in refusal(as_table(ROWS, "parquet")[:-20])
    assert "cannot be read as Arrow" in refusal(as_table(ROWS, "arrow file")[:60])
