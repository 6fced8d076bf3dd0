"""Commands take several files and patterns as one job, and results say which file a line came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.stores.protocol import JobStore
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the commands: JSONL and CSV."""
    (tmp_path / "a.jsonl").write_text('{"id": "a-1", "prompt": "Hello", "level": 3}\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.csv").write_text("prompt\nGood morning\n")
    (tmp_path / "more" / "c.csv").write_text("prompt\nGood night\n")
    return tmp_path


def test_results_name_the_file_of_each_line(cli: Cli, store: JobStore, folder: Path) -> None:
    job_id = cli("submit", "a.jsonl", "more/*.csv").stdout.strip()
    assert cli("extend", job_id, "more/b.csv", "more/c.csv").returncode == 0
    run_job(store, job_id)
    results = [json.loads(line) for line in cli("results", job_id).stdout.splitlines()]
    assert [(result["id"], result["source"]) for result in results] == [
        ("a-1", "a.jsonl"),
        ("2", "more/b.csv"),
        ("3", "more/c.csv"),
        ("4", "more/b.csv"),
        ("5", "more/c.csv"),
    ]
    assert results[0]["input"] == {"level": 3}
    assert store.jobs.get(job_id).spec.source == "a.jsonl and 2 more files"


def test_results_of_one_file_name_no_file(cli: Cli, store: JobStore, folder: Path) -> None:
    job_id = cli("submit", "a.jsonl").stdout.strip()
    run_job(store, job_id)
    assert "source" not in json.loads(cli("results", job_id).stdout)


def test_check_describes_all_files(bare_cli: Cli, folder: Path) -> None:
    done = bare_cli("check", "a.jsonl", "more/*.csv", "--json")
    said = json.loads(done.stdout)
    assert (said["file"], said["lines"], said["container"]) == ("a.jsonl and 2 more files", 3, "jsonl, csv")
    assert said["files"] == ["a.jsonl", "more/b.csv", "more/c.csv"]


def test_a_limit_takes_the_first_rows_of_all_files(bare_cli: Cli, folder: Path) -> None:
    assert json.loads(bare_cli("check", "a.jsonl", "more/*.csv", "--limit", "2", "--json").stdout)["lines"] == 2
    refused = bare_cli("check", "a.jsonl", "--limit", "0")
    assert (refused.returncode, "0 is out of range; it must be at least 1." in refused.stderr) == (2, True)


def test_every_fault_of_several_files_is_listed_with_its_file(cli: Cli, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"prompt": "x"}\n{"prompt": 5}\n')
    done = cli("submit", "a.jsonl", "bad.jsonl", "--wait", "-o", "out.jsonl", "--errors", "faults.jsonl")
    assert done.returncode == 2
    fault = json.loads((folder / "faults.jsonl").read_text())
    assert (fault["source"], fault["line"]) == ("bad.jsonl", 2)


def test_results_spare_each_of_several_files(bare_cli: Cli, folder: Path) -> None:
    before = (folder / "more" / "c.csv").read_text()
    done = bare_cli("run", "a.jsonl", "more/*.csv", "-o", "more/c.csv")
    assert (done.returncode, "-o would overwrite the prompt file more/c.csv" in done.stderr) == (2, True)
    assert (folder / "more" / "c.csv").read_text() == before
