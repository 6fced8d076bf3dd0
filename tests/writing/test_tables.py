"""Results as tables: the ending of the file's name decides, and a line's columns stand beside its completion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import InvalidInput
from jobs.files.results.flat_rows import FlatRows
from jobs.files.results.kept_columns import KeptColumns
from jobs.files.results.results_file import ResultStyle, write_results
from jobs.files.writing.destination import LocalFile
from jobs.files.writing.row_spool import MAX_COLUMNS
from jobs.records.completion import Choice, Completion, Usage
from jobs.records.sampling import FinishReason
from tests.writing.echoing import EchoJob, rows_of, table_of

ANSWER = ["completion", "finish_reason", "prompt_tokens", "completion_tokens", "error", "error_message"]
OPTIONAL = ["reasoning", "reasoning_tokens", "completions", "token_ids"]
TEXT_FORMS = [f"{form}{packed}" for form in ("jsonl", "csv", "tsv") for packed in ("", ".gz", ".zst", ".bz2", ".xz")]
ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": 'He said "so",\nand left.\r', "gold": "ü,", "n": 1},
    {"id": "b", "text": "two", "gold": "", "n": 2},
    {"id": "c", "text": "\tthree;", "gold": None, "n": None},
]


def source(tmp_path: Path, rows: list[dict[str, Any]], name: str = "source.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def job(tmp_path: Path) -> EchoJob:
    return EchoJob(source(tmp_path, ROWS), template="{{ text }}", failing=["b"])


@pytest.mark.parametrize("ending", [*TEXT_FORMS, "parquet", "arrow"])
def test_every_format_holds_every_row_in_order_with_its_columns(job: EchoJob, tmp_path: Path, ending: str) -> None:
    rows = rows_of(job.write(tmp_path / f"out.{ending}", flat=True))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["completion"] for row in rows] == [ROWS[0]["text"], "" if "sv" in ending else None, ROWS[2]["text"]]
    assert list(rows[0]) == ["id", "text", "gold", "n", *ANSWER]
    assert [row["gold"] or None for row in rows] == ["ü,", None, None]
    assert [str(row["n"] or "") for row in rows] == ["1", "2", ""]
    assert [row["error"] or None for row in rows] == [None, "invalid_line", None]
    assert [row["error_message"] or None for row in rows] == [None, "It fails.", None]
    assert [str(row["completion_tokens"] or "") for row in rows] == ["1", "", "1"]


def test_nothing_but_the_output_is_in_the_folder(job: EchoJob, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("out.csv", "out.parquet", "out.jsonl.gz"):
        job.write(folder / name)
    assert sorted(path.name for path in folder.iterdir()) == ["out.csv", "out.jsonl.gz", "out.parquet"]


def test_equal_results_are_equal_bytes(job: EchoJob, tmp_path: Path) -> None:
    for ending in ("csv.gz", "jsonl.xz", "parquet", "arrow"):
        one, other = job.write(tmp_path / f"one.{ending}"), job.write(tmp_path / f"other.{ending}")
        assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "one.csv.gz").read_bytes()[4:8] == bytes(4)  # gzip's time of writing


def test_values_of_csv_are_not_changed_even_if_a_spreadsheet_takes_them_for_formulas(tmp_path: Path) -> None:
    row = {"id": "a", "text": "=1+1", "ratio": 1.10, "deep": {"b": [1, None]}, "yes": True}
    job = EchoJob(source(tmp_path, [row]), template="{{ text }}")
    (found,) = rows_of(job.write(tmp_path / "out.csv"))
    assert [found[name] for name in ("text", "ratio", "deep", "yes", "completion")] == [
        *("=1+1", "1.1", '{"b": [1, null]}', "true", "=1+1"),
    ]


def test_a_column_named_like_a_field_of_the_result_gets_a_prefix(tmp_path: Path) -> None:
    row = {"id": "a", "prompt": "p", "completion": "gold", "input_completion": "x", "error": 3, "source": "web"}
    job = EchoJob(source(tmp_path, [row]), template="{{ prompt }}", id_column="prompt")
    for name in ("out.csv", "out.parquet", "out.jsonl"):
        (found,) = rows_of(job.write(tmp_path / name, flat=True))
        assert (found["id"], found["completion"], found["source"]) == ("p", "p", "web")
        assert (found["input_id"], found["input_completion"], str(found["input_error"])) == ("a", "gold", "3")
        assert found["input_input_completion"] == "x"


def test_thoughts_and_several_completions_are_further_columns(tmp_path: Path) -> None:
    job = EchoJob(source(tmp_path, [{"id": "a", "prompt": "p", "options": ["A", "B"], "reasoning": "gold"}]))
    answer = Completion(
        index=0,
        id="a",
        text="one",
        finish_reason=FinishReason.STOP,
        usage=Usage(1, 2, reasoning_tokens=3),
        reasoning="Hm.",
        token_ids=(7,),
        more_choices=(Choice("two", FinishReason.LENGTH),),
    )
    for name in ("out.parquet", "out.jsonl"):
        write_results(
            [answer],
            job.job,
            LocalFile(tmp_path / name),
            input_of=KeptColumns(job.store, job.job).of,
            style=ResultStyle(flat=True),
        )
        (row,) = rows_of(tmp_path / name)
        assert (row["options"], row["input_reasoning"]) == (["A", "B"], "gold")
        assert (row["reasoning"], row["reasoning_tokens"], row["token_ids"]) == ("Hm.", 3, [7])
        assert [choice["completion"] for choice in row["completions"]] == ["one", "two"]
        assert set(row) == {"id", "prompt", "options", "input_reasoning", *OPTIONAL, *ANSWER}


def test_every_count_of_tokens_has_a_column() -> None:
    layout = FlatRows("native").layout(None)
    assert {*layout.last, *layout.optional} >= set(Usage.__struct_fields__)


def test_too_many_columns_for_a_table_are_refused_with_a_way_out(tmp_path: Path) -> None:
    rows = [{"prompt": "p", **{f"column {number}": 0 for number in range(MAX_COLUMNS)}}]
    job = EchoJob(source(tmp_path, rows), template="{{ prompt }}")
    with pytest.raises(InvalidInput, match="more than 5,000 columns"):
        job.write(tmp_path / "out.csv")
    assert len(rows_of(job.write(tmp_path / "out.jsonl", flat=True))[0]) > MAX_COLUMNS


def test_the_raw_prompt_stands_beside_its_completion(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("id,prompt,gold\na,one,1\nb,two,2\n")
    rows = rows_of(EchoJob(path).write(tmp_path / "out.csv"))
    assert [(row["prompt"], row["completion"], row["gold"]) for row in rows] == [
        ("one", "one", "1"),
        ("two", "two", "2"),
    ]
    assert list(rows[0]) == ["id", "prompt", "gold", *ANSWER]
    (row,) = rows_of(
        EchoJob(source(tmp_path, [{"prompt": "p"}]), template="x{# same #}", raw=True).write(
            tmp_path / "o.jsonl", flat=True
        )
    )
    assert (row["prompt"], row["completion"]) == ("p", "x")


def test_with_several_files_each_row_names_its_file(tmp_path: Path) -> None:
    files = [source(tmp_path, [{"text": name, "source": "web"}], f"{name}.jsonl") for name in ("one", "two")]
    rows = rows_of(EchoJob(*files, template="{{ text }}").write(tmp_path / "out.csv"))
    assert [Path(row["source"]).name for row in rows] == ["one.jsonl", "two.jsonl"]
    assert [row["input_source"] for row in rows] == ["web", "web"]


def test_rows_with_different_columns_make_one_table(tmp_path: Path) -> None:
    job = EchoJob(source(tmp_path, [{"t": "x", "a": 1}, {"t": "y", "b": 2}, {"t": "z", "a": 3}]), template="{{ t }}")
    rows = rows_of(job.write(tmp_path / "out.parquet"))
    assert [(row["a"], row["b"]) for row in rows] == [(1, None), (None, 2), (3, None)]
    assert list(rows[0]) == ["id", "t", "a", "b", *ANSWER]
    assert "b" not in rows_of(job.write(tmp_path / "out.jsonl", flat=True))[0]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 2], pa.int64(), [1, None, 2]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([True, None], pa.bool_(), [True, None]),
        ([None, None], pa.string(), [None, None]),
        ([1, "yes", True], pa.string(), ["1", "yes", "true"]),
        ([2**53 + 1, 0.5], pa.string(), [str(2**53 + 1), "0.5"]),
        ([2**63], pa.string(), [str(2**63)]),
        ([[1], [], None], pa.list_(pa.int64()), [[1], [], None]),
        ([{"a": "x"}, {"b": [1]}], pa.struct([("a", pa.string()), ("b", pa.list_(pa.int64()))]), None),
        ([[1, "a"], [[2]]], pa.list_(pa.string()), [["1", "a"], ["[2]"]]),
        ([{}, {}], pa.string(), ["{}", "{}"]),
        ([[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]], None, None),
        ([{str(key): key for key in range(300)}], pa.string(), None),
        ([{"a": {"b": [{"c": 1}]}}], None, [{"a": {"b": [{"c": 1}]}}]),
    ],
)
def test_columns_of_json_get_the_type_that_fits_all_values(
    tmp_path: Path, values: list[Any], kind: Any, expected: list[Any] | None
) -> None:
    job = EchoJob(source(tmp_path, [{"value": value} for value in values]), template="x{# same #}")
    column = table_of(job.write(tmp_path / "out.parquet"))["value"]
    assert kind is None or column.type == kind
    assert expected is None or column.to_pylist() == expected


def test_an_openai_job_as_a_table_has_all_lines_in_one_file(tmp_path: Path) -> None:
    lines = [
        {"custom_id": f"q-{n}", "split": "dev", "body": {"messages": [{"role": "user", "content": "Hi"}]}}
        for n in range(3)
    ]
    job = EchoJob(source(tmp_path, lines), failing=["q-1"])
    for name in ("out.csv", "out.parquet", "flat.jsonl"):
        rows = rows_of(job.write(tmp_path / name, flat=name == "flat.jsonl"))
        assert [row["custom_id"] for row in rows] == ["q-0", "q-1", "q-2"]
        assert list(rows[0]) == ["custom_id", "split", *ANSWER]
    assert not list(tmp_path.glob("*errors*"))
    job.write(tmp_path / "nested.jsonl.gz")
    assert [row["custom_id"] for row in rows_of(tmp_path / "nested.errors.jsonl.gz")] == ["q-1"]


def test_the_file_of_failed_lines_has_a_format_of_its_own(job: EchoJob, tmp_path: Path) -> None:
    job.write(tmp_path / "out.jsonl", tmp_path / "bad.csv")
    assert [row["id"] for row in rows_of(tmp_path / "bad.csv")] == ["b"]
    job.write(tmp_path / "out.csv", tmp_path / "bad.jsonl")
    assert rows_of(tmp_path / "bad.jsonl")[0]["input"]["text"] == "two"
    assert len(rows_of(tmp_path / "out.csv")) == 3


def test_a_bad_line_without_an_id_has_its_number(tmp_path: Path) -> None:
    path = tmp_path / "source.jsonl"
    path.write_text('{"prompt": "a"}\nno json\n')
    rows = rows_of(EchoJob(path).write(tmp_path / "out.parquet"))
    assert [(row["id"], row["line"], row["error"]) for row in rows] == [("1", None, None), (None, 2, "invalid_line")]
