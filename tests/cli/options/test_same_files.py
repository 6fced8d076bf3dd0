"""Files that a command would write over its own input, or over each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.stores.protocol import JobStore
from tests.cli.conftest import Cli

LINE = '{"id": "q-1", "prompt": "What is 3 + 4?", "max_tokens": 2}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the commands: a file of prompts, and other ways to it."""
    (tmp_path / "in.jsonl").write_text(LINE)
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    os.link(tmp_path / "in.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", [["run"], ["submit", "--wait"]])
@pytest.mark.parametrize(
    "words",
    [
        ["in.jsonl", "-o", "in.jsonl"],
        ["in.jsonl", "-o", "sub/../in.jsonl"],
        ["in.jsonl", "-o", "link.jsonl"],
        ["in.jsonl", "-o", "hard.jsonl"],
        ["link.jsonl", "-o", "in.jsonl"],
        ["in.jsonl", "-o", "out.jsonl", "--errors", "link.jsonl"],
        ["in.jsonl", "-o", "out.jsonl", "--errors", "in.jsonl", "--overwrite"],
    ],
)
def test_a_file_that_is_the_input_is_refused_and_keeps_its_prompts(
    cli: Cli, folder: Path, command: list[str], words: list[str]
) -> None:
    done = cli(*command, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        ("Error: -o would overwrite the prompt file", "Error: --errors would overwrite the prompt file")
    )
    assert (folder / "in.jsonl").read_text() == LINE


def test_the_default_file_for_failed_lines_and_the_statistics_spare_the_input_too(bare_cli: Cli, folder: Path) -> None:
    (folder / "in.errors.jsonl").write_text(LINE)
    for words in (["in.errors.jsonl", "-o", "in.jsonl"], ["in.jsonl", "--stats", "hard.jsonl"]):
        done = bare_cli("run", *words)
        assert (done.returncode, "would overwrite the prompt file" in done.stderr) == (2, True), done.stderr


def test_standard_input_and_output_are_files_too(folder: Path, environment: dict[str, str]) -> None:
    with (folder / "in.jsonl").open("rb") as source, (folder / "in.jsonl").open("ab") as sink:
        command = [sys.executable, "-P", "-m", "cli.main", "run"]
        for words, stdout in ((["-", "-o", "in.jsonl"], subprocess.PIPE), (["in.jsonl"], sink)):
            done = subprocess.run(
                [*command, *words],
                cwd=folder,
                env=environment,
                stdin=source,
                stdout=stdout,
                stderr=subprocess.PIPE,
                check=False,
            )
            assert (done.returncode, b"the prompt file" in done.stderr) == (2, True), done.stderr
    assert (folder / "in.jsonl").read_text() == LINE


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "out.jsonl", "--errors", "out.jsonl"],
        ["-o", "out.jsonl", "--stats", "sub/../out.jsonl"],
        ["--errors", "x.jsonl", "--stats", "x.jsonl"],
        ["-o", "out.jsonl", "--stats", "out.errors.jsonl"],
    ],
)
def test_two_files_that_are_the_same_are_refused_before_anything_starts(
    bare_cli: Cli, folder: Path, words: list[str]
) -> None:
    done = bare_cli("run", "in.jsonl", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "are the same file" in done.stderr
    assert not (folder / "home" / "state").exists()
    assert not (folder / "out.jsonl").exists()


def test_overwrite_replaces_the_input_with_its_results(bare_cli: Cli, folder: Path) -> None:
    done = bare_cli("run", "in.jsonl", "-o", "in.jsonl", "--overwrite", "--no-compile")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in (folder / "in.jsonl").read_text().splitlines()] == ["q-1"]
    assert "completion" in (folder / "in.jsonl").read_text()


def test_another_file_that_exists_is_replaced_without_a_question(cli: Cli, store: JobStore, folder: Path) -> None:
    job_id = cli("submit", "in.jsonl").stdout.strip()
    cli("cancel", job_id)
    (folder / "old.jsonl").write_text("old")
    assert cli("results", job_id, "-o", "old.jsonl").returncode == 0
    assert json.loads((folder / "old.jsonl").read_text())["id"] == "q-1"


def test_a_device_may_take_several_kinds_of_lines(cli: Cli, folder: Path) -> None:
    job_id = cli("submit", "in.jsonl").stdout.strip()
    cli("cancel", job_id)
    assert cli("results", job_id, "-o", "/dev/null", "--errors", "/dev/null").returncode == 0
