"""Laws: a file says the same in every container, and its columns come back as they were."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.writing.echoing import EchoJob, rows_of, table_of

Row = dict[str, Any]

EXAMPLES = 8

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', ",\r\n", "\t", "=1", "null"]
)
PROMPT = TEXT.filter(lambda text: bool(text.strip()) and "\0" not in text)
CELL = TEXT.filter(lambda text: "\0" not in text)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "whole": (pa.int64(), INT64),
    "small": (pa.int8(), st.integers(-128, 127)),
    "float": (pa.float64(), FLOAT),
    "yes": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "text": (pa.string(), TEXT),
    "nested": (pa.list_(pa.list_(pa.int64())), st.lists(st.lists(INT64 | st.none(), max_size=2), max_size=2)),
    "nothing": (pa.null(), st.none()),
    "object": (
        pa.struct([("a", pa.string()), ("b", pa.list_(pa.float64()))]),
        st.fixed_dictionaries({"a": TEXT | st.none(), "b": st.lists(FLOAT, max_size=2)}),
    ),
}
TYPED_ROWS = st.lists(
    st.fixed_dictionaries({"prompt": PROMPT, **{name: st.none() | values for name, (_, values) in KINDS.items()}}),
    min_size=1,
    max_size=4,
)
TEXT_ROWS = st.lists(st.fixed_dictionaries({"prompt": PROMPT, "gold": CELL, "split": CELL}), min_size=1, max_size=4)


def as_jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, default=date.isoformat) + "\n" for row in rows))


def as_json(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps({"data": rows}, default=date.isoformat, ensure_ascii=False, indent=1))


def as_csv(path: Path, rows: list[Row], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[Row]) -> Any:
    kinds = {"prompt": pa.string(), **{name: kind for name, (kind, _) in KINDS.items()}}
    return pa.Table.from_pylist(rows, pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]]))


def as_parquet(path: Path, rows: list[Row]) -> None:
    parquet.write_table(table(rows), path)


def as_arrow(path: Path, rows: list[Row]) -> None:
    with pa.ipc.new_file(path, table(rows).schema) as file:
        file.write_table(table(rows))


CONTAINERS: dict[str, Callable[[Path, list[Row]], None]] = {
    "jsonl": as_jsonl,
    "json": as_json,
    "csv": as_csv,
    "tsv": lambda path, rows: as_csv(path, rows, "\t"),
    "parquet": as_parquet,
    "arrow": as_arrow,
}


@settings(max_examples=EXAMPLES)
@given(TYPED_ROWS)
def test_typed_columns_come_back_as_they_were(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for container in ("parquet", "arrow"):
            source = Path(name) / f"in.{container}"
            CONTAINERS[container](source, rows)
            job = EchoJob(source)
            expected = table(rows).drop_columns(["prompt"])
            for output in ("out.parquet", "out.arrow"):
                found = table_of(job.write(Path(name) / output))
                assert found.select(expected.column_names).equals(expected)
                assert found["prompt"].to_pylist() == found["completion"].to_pylist()
                assert found["completion"].to_pylist() == [row["prompt"] for row in rows]


@settings(max_examples=EXAMPLES)
@given(TYPED_ROWS)
def test_values_of_json_come_back_as_they_were(rows: list[Row]) -> None:
    rows = json.loads(json.dumps(rows, default=date.isoformat))
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in.jsonl"
        as_jsonl(source, rows)
        job = EchoJob(source)
        for output in ("out.jsonl.gz", "out.parquet", "out.arrow"):
            found = rows_of(job.write(Path(name) / output, flat=True))
            assert [{column: row[column] for column in KINDS} for row in found] == [
                {column: row[column] for column in KINDS} for row in rows
            ]


@settings(max_examples=EXAMPLES)
@given(TEXT_ROWS)
@example([{"prompt": '"', "gold": "\r", "split": ""}])
@example([{"prompt": "a\r\n,b", "gold": "=1+1", "split": "\t"}])
def test_a_file_gives_the_same_ids_and_texts_in_every_container(rows: list[Row]) -> None:
    rows = [{"id": f"q{number}", **row} for number, row in enumerate(rows)]
    expected = [(row["id"], row["prompt"], row["gold"], row["split"]) for row in rows]
    with tempfile.TemporaryDirectory() as name:
        for container, write in CONTAINERS.items():
            source = Path(name) / f"in.{container}"
            write(source, rows)
            job = EchoJob(source)
            for output in ("out.csv", "out.tsv.zst", "out.parquet", "out.jsonl"):
                found = rows_of(job.write(Path(name) / output, flat=True))
                assert [(row["id"], row["completion"], row["gold"], row["split"]) for row in found] == expected


def test_results_can_be_the_source_of_the_next_job(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": 'one\r\n"two",', "gold": "=1+1"}, {"id": "b", "prompt": "ü\r", "gold": ""}]
    first = tmp_path / "in.jsonl"
    as_jsonl(first, rows)
    for ending in ("csv", "tsv.gz", "parquet", "arrow", "jsonl.xz"):
        second = EchoJob(first).write(tmp_path / f"middle.{ending}", flat=True)
        found = rows_of(EchoJob(second, template="{{ completion }}").write(tmp_path / "out.jsonl", flat=True))
        for row, original in zip(found, rows, strict=True):
            assert (row["id"], row["completion"], row["gold"]) == tuple(original.values())
            assert (row["input_completion"], row["input_finish_reason"]) == (original["prompt"], "stop")
