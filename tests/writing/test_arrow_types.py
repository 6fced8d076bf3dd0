"""Columns of Parquet and Arrow sources come back with the same Arrow types and values."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs.files.prompt_file import PromptFile
from jobs.submission.job_client import JobClient
from tests.formats.submission.submitting import Hints
from tests.writing.echoing import EchoJob, rows_of, table_of

NOW = dt.datetime(2024, 5, 1, 12, 30, 15, 123456)
NANOSECONDS = [1714566615123456789, None, -1]
COLUMNS: dict[str, Any] = {
    "int8": pa.array([1, None, -3], pa.int8()),
    "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "float16": pa.array([1.5, None, 3], pa.float16()),
    "float32": pa.array([1.1, None, 3], pa.float32()),
    "bool": pa.array([True, None, False]),
    "text": pa.array(['"a",\n', None, "ü"]),
    "large text": pa.array(["x", None, ""], pa.large_string()),
    "null": pa.nulls(3),
    "date": pa.array([dt.date(2024, 1, 1), None, dt.date(1, 1, 1)]),
    "milliseconds": pa.array([1714566615123, None, -1], pa.timestamp("ms")),
    "microseconds": pa.array([NOW, None, dt.datetime(1905, 1, 1, 1, 1, 1, 7)], pa.timestamp("us")),
    "nanoseconds": pa.array(NANOSECONDS, pa.timestamp("ns")),
    "in UTC": pa.array([1714566615123, None, -1], pa.timestamp("ms", "UTC")),
    "in Paris": pa.array(NANOSECONDS, pa.timestamp("ns", "Europe/Paris")),
    "clock": pa.array([5, None, 86399 * 10**6 + 7], pa.time64("us")),
    "exact clock": pa.array([5, None, 86399 * 10**9 + 7], pa.time64("ns")),
    "duration": pa.array([5, None, -7], pa.duration("ns")),
    "decimal": pa.array([Decimal("1.10"), None, Decimal("-0.01")], pa.decimal128(10, 2)),
    "bytes": pa.array([b"\x00\xff", None, b""]),
    "two bytes": pa.array([b"\x00\xff", None, b"ab"], pa.binary(2)),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int16())),
    "list of lists": pa.array([[[dt.date(2024, 1, 1)], None], None, []], pa.list_(pa.list_(pa.date32()))),
    "pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
    "object": pa.array(
        [{"a": 1, "b": [b"x"]}, None, {"a": None, "b": None}],
        pa.struct([("a", pa.int8()), ("b", pa.list_(pa.binary()))]),
    ),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
    "durations": pa.array([[dt.timedelta(seconds=5)], None, []], pa.list_(pa.duration("us"))),
    "moments": pa.array([[NOW], None, []], pa.list_(pa.timestamp("us", "UTC"))),
}


def written(folder: Path, container: str, **columns: Any) -> Path:
    path = folder / f"source.{container}"
    table = pa.table({"prompt": ["a", "b", "c"], **columns})
    if container == "parquet":
        parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    return path


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EchoJob:
    """A job with a column of each type."""
    return EchoJob(written(tmp_path_factory.mktemp("types"), request.param, **COLUMNS))


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def results(request: pytest.FixtureRequest, job: EchoJob, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of the job as a table."""
    return table_of(job.write(tmp_path_factory.mktemp("results") / f"out.{request.param}"))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_keeps_its_type_and_its_values(results: Any, name: str) -> None:
    assert results[name].type == COLUMNS[name].type
    assert results[name].combine_chunks().equals(COLUMNS[name])


def test_a_column_of_categories_keeps_its_type_in_parquet_and_is_plain_in_arrow(tmp_path: Path) -> None:
    column = pa.array(["x", None, "y"]).dictionary_encode()
    job = EchoJob(written(tmp_path, "parquet", label=column))
    found = table_of(job.write(tmp_path / "out.parquet"))["label"]
    assert (found.type, found.to_pylist()) == (column.type, ["x", None, "y"])
    found = table_of(job.write(tmp_path / "out.arrow"))["label"]
    assert (found.type, found.to_pylist()) == (pa.string(), ["x", None, "y"])


def test_a_type_that_json_cannot_restore_becomes_what_its_values_are(tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 0, 3]), pa.array(["", "b", ""])])
    job = EchoJob(written(tmp_path, "arrow", union=union))
    assert [row["union"] for row in rows_of(job.write(tmp_path / "out.arrow"))] == ["1", "b", "3"]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (pa.int64(), pa.int64()),
        (pa.uint32(), pa.uint32()),
        (pa.int8(), pa.int32()),
        (pa.string(), pa.string()),
        (pa.float64(), pa.string()),
    ],
)
def test_ids_that_are_whole_numbers_stay_numbers(tmp_path: Path, kind: Any, kept: Any) -> None:
    values = [7, 8, None] if pa.types.is_integer(kind) else ["7", "8", None]
    key = "key" if pa.types.is_floating(kind) else "id"
    path = written(tmp_path, "parquet", **{key: pa.array(values).cast(kind)})
    ids = table_of(EchoJob(path).write(tmp_path / "out.parquet"))["id"]
    assert ids.type == kept
    assert [str(id) for id in ids.to_pylist()] == (["1", "2", "3"] if key == "key" else ["7", "8", "3"])


def test_the_column_of_ids_gives_its_type_to_the_ids(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet", key=pa.array([7, 8, 9], pa.int64()), id=pa.array([1, 1, 1], pa.int16()))
    table = table_of(EchoJob(path, template="{{ prompt }}", id_column="key").write(tmp_path / "out.parquet"))
    assert (table["id"].type, table["id"].to_pylist()) == (pa.int64(), [7, 8, 9])
    assert (table["input_id"].type, table["input_id"].to_pylist()) == (pa.int16(), [1, 1, 1])


def test_numbered_rows_keep_a_column_named_id_beside_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet", id=pa.array([7, 7, 7], pa.int16()))
    table = table_of(EchoJob(path, template="{{ prompt }}", number_rows=True).write(tmp_path / "out.parquet"))
    assert (table["id"].to_pylist(), table["input_id"].type) == (["1", "2", "3"], pa.int16())


def test_added_lines_of_another_source_do_not_break_the_table(tmp_path: Path) -> None:
    job = EchoJob(written(tmp_path, "parquet", day=COLUMNS["date"]))
    more = tmp_path / "more.jsonl"
    more.write_text('{"prompt": "d", "day": "some day"}\n')
    with PromptFile.open(str(more), io.BytesIO()) as file:
        JobClient(job.store, Hints()).extend(job.job.id, file)
    job.finish()
    assert [row["day"] for row in rows_of(job.write(tmp_path / "out.parquet"))] == [
        *("2024-01-01", None, "0001-01-01", "some day")
    ]


def test_damaged_types_in_the_record_of_a_job_are_ignored(tmp_path: Path) -> None:
    job = EchoJob(written(tmp_path, "parquet", day=COLUMNS["date"]))
    for damaged in (b"", b"nonsense", b"\xff" * 64, (job.job.spec.column_types or b"")[:-40]):
        job.job = msgspec.structs.replace(job.job, spec=msgspec.structs.replace(job.job.spec, column_types=damaged))
        assert rows_of(job.write(tmp_path / "out.parquet"))[0]["day"] == "2024-01-01"


def test_several_sources_with_the_same_columns_keep_their_types(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    sources = [written(tmp_path / name, "parquet", day=COLUMNS["date"]) for name in ("one", "two")]
    assert table_of(EchoJob(*sources).write(tmp_path / "out.parquet"))["day"].type == pa.date32()
    sources[1] = written(tmp_path / "two", "parquet", day=COLUMNS["text"])
    assert table_of(EchoJob(*sources).write(tmp_path / "out.parquet"))["day"].type == pa.string()


def test_many_row_groups_hold_all_rows_in_order(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"prompt": "p{n}", "text": "{"x" * 40_000}"}}\n' for n in range(600)))
    out = EchoJob(path).write(tmp_path / "out.parquet")
    assert parquet.ParquetFile(out).num_row_groups > 1
    assert table_of(out)["completion"].to_pylist() == [f"p{n}" for n in range(600)]
