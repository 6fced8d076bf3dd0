"""`results -o` writes the format that the file's ending says, and `--output-format` names it on standard output."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobs.records.completion import Completion, Usage
from jobs.records.job import ShardRef
from jobs.records.sampling import FinishReason
from jobs.records.shard_stats import ShardStats
from jobs.stores.protocol import JobStore
from testing.processes.command_line import write_jsonl
from tests.cli.acting_worker import WORKER, run_job
from tests.cli.conftest import Cli

TABLE = pa.table(
    {
        "question": ["What is\n2 + 3?", 'Say "hi", please.'],
        "level": pa.array([1, None], pa.int8()),
        "day": [date(2024, 5, 1), None],
        "tags": [["a", "b"], []],
        "seed": ["x", "y"],
    }
)


@pytest.fixture
def finished(cli: Cli, store: JobStore, tmp_path: Path) -> str:
    """The id of a finished job, made of a Parquet file."""
    parquet.write_table(TABLE, tmp_path / "questions.parquet")
    done = cli("submit", "questions.parquet", "--template", "{{ question }}")
    assert done.returncode == 0, done.stderr
    run_job(store, done.stdout.strip(), fail=frozenset({"2"}))
    return done.stdout.strip()


def test_results_are_a_table_with_the_columns_of_the_source(cli: Cli, finished: str, tmp_path: Path) -> None:
    for words in (["-o", "out.parquet"], ["-o", "out.csv", "--errors", "bad.tsv"]):
        done = cli("results", finished, *words)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.select(TABLE.column_names).equals(TABLE)
    assert found["completion"].to_pylist() == ["answer to 1", None]
    assert found["error"].to_pylist() == [None, "prompt_too_long"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_bytes().decode(), newline="")))
    assert [row["question"] for row in rows] == TABLE["question"].to_pylist()
    assert [row["tags"] for row in rows] == ['["a","b"]', "[]"]
    assert len((tmp_path / "bad.tsv").read_text().splitlines()) == 2


def test_standard_output_can_be_csv_or_flat_rows(cli: Cli, finished: str) -> None:
    done = cli("results", finished, "--output-format", "tsv")
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline=""), delimiter="\t"))
    assert [(row["id"], row["completion"], row["seed"]) for row in rows] == [("1", "answer to 1", "x"), ("2", "", "y")]
    flat = [json.loads(line) for line in cli("results", finished, "--flat").stdout.splitlines()]
    assert [(row["id"], row["level"], row["seed"], row["error"]) for row in flat] == [
        ("1", 1, "x", None),
        ("2", None, "y", "prompt_too_long"),
    ]
    nested = json.loads(cli("results", finished, "-o", "-").stdout.splitlines()[0])
    assert nested["input"]["question"] == "What is\n2 + 3?"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "questions.parquet", "-o", "out.xlsx"], "Excel files are not supported"),
        (["run", "questions.parquet", "--errors", "bad.parquet.gz"], "parquet files are compressed inside"),
        (["submit", "questions.parquet", "--flat"], "--output-format, --flat and --reasoning-field need -o"),
        (["results", "job-1", "--output-format", "xml"], "'xml' is not one of"),
    ],
)
def test_a_format_that_cannot_be_written_is_refused_before_any_work(bare_cli: Cli, words: list[str], said: str) -> None:
    done = bare_cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


def test_lines_that_end_inside_their_thought_are_counted_with_what_to_do(
    cli: Cli, store: JobStore, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Why?"}] * 3)
    job_id = cli("submit", path).stdout.strip()
    lease = store.work.lease(ShardRef(job_id, 0), WORKER, ttl_seconds=60)
    assert lease is not None
    cut = [
        Completion(index, str(index + 1), "", FinishReason.LENGTH, Usage(1, 9, 9), ended_in_thought=index != 1)
        for index in range(3)
    ]
    store.work.write(lease, cut)
    store.work.finish_shard(lease, ShardStats(WORKER, "cpu", "float32", "none", True, 0.0, 0.0))
    done = cli("results", job_id, "-o", "out.csv", "-q")
    assert done.returncode == 0
    said = " ".join(done.stderr.split())
    assert said.startswith("Warning: 2 lines have no answer: the completion ended inside the thought")
    assert "--no-thinking switches thoughts off, and --thinking-budget N ends them earlier." in said
