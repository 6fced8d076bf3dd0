"""Commands whose standard input, output or error is closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli

Redirected = Callable[..., subprocess.CompletedProcess[str]]
NOT_WRITABLE = "Error: Standard output cannot be written: "


@pytest.fixture
def redirected(environment: dict[str, str], tmp_path: Path, valkey: ValkeyProcess) -> Redirected:
    """Runs a command with a shell's redirections: `<&-` closes standard input, `>&-` standard output."""

    def run(redirections: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-P", "-m", "cli.main", *map(str, words)],
            cwd=tmp_path,
            env=environment | {"QWEN_BATCH_REDIS_URL": valkey.url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_with_standard_input_closed_a_file_is_submitted_and_a_dash_is_refused(
    redirected: Redirected, store: JobStore, prompts: Path
) -> None:
    submitted, refused = redirected("<&-", "submit", prompts), redirected("<&-", "submit", "-")
    assert (submitted.returncode, len(store.jobs.newest(10))) == (0, 1)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: standard input cannot be read: ")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&-"])
@pytest.mark.parametrize("words", [["list", "--json"], ["status"], ["results", "--partial"], ["--version"]])
def test_output_that_cannot_be_written_is_one_line(
    cli: Cli, redirected: Redirected, prompts: Path, redirection: str, words: list[str]
) -> None:
    job = [cli("submit", prompts).stdout.strip()] if words[0] in ("status", "results") else []
    done = redirected(redirection, *words, *job)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(NOT_WRITABLE)


def test_a_job_whose_id_cannot_be_written_is_named_in_the_error(
    redirected: Redirected, store: JobStore, prompts: Path
) -> None:
    done = redirected(">&-", "submit", prompts)
    (job,) = store.jobs.newest(10)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"The job is stored nevertheless. Its id is {job.id}."


def test_results_need_no_standard_output_where_a_file_is_named(
    cli: Cli, redirected: Redirected, prompts: Path, tmp_path: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    cli("cancel", job_id)
    done = redirected("<&- >&- 2>&-", "results", job_id, "-o", "out.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 20  # and nothing that was said stands in it


def test_a_run_finds_a_closed_output_before_it_starts_anything(
    redirected: Redirected, prompts: Path, tmp_path: Path
) -> None:
    done = redirected(">&-", "run", prompts)
    assert (done.returncode, done.stderr.startswith(NOT_WRITABLE)) == (2, True)
    assert not (tmp_path / "home" / "state").exists()


def test_a_file_whose_name_is_not_utf8_is_read_and_written_and_shown_with_escapes(cli: Cli, tmp_path: Path) -> None:
    source, output = os.fsdecode(b"caf\xe9.jsonl"), os.fsdecode(b"r\xe9.jsonl")
    (tmp_path / source).write_text('{"prompt": "Hello"}\n')
    submitted = cli("submit", source)
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    assert "caf\\udce9.jsonl" in cli("list").stdout
    cli("cancel", job_id)
    assert cli("results", job_id, "-o", output, "--errors", os.fsdecode(b"e\xe9.jsonl")).returncode == 0
    assert (tmp_path / output).is_file()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["status", b"j\xe9"], "'JOB'"),
        (["submit", "prompts.jsonl", "--model", b"m\xe9"], "'--model'"),
        (["submit", "prompts.jsonl", "--stop", b"s\xe9"], "'--stop'"),
        (["worker", "--served-model-name", b"m\xe9"], "'--served-model-name'"),
        (["tokenize", b"t\xe9"], "'TEXT'"),
    ],
)
def test_a_text_that_is_not_utf8_is_refused_by_its_options_name(
    cli: Cli, prompts: Path, words: list[str | bytes], name: str
) -> None:
    done = cli(*[os.fsdecode(word) for word in words])
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr and "it is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_not_utf8_is_refused_by_its_name(cli: Cli) -> None:
    for name in ("QWEN_BATCH_MODEL", "QWEN_BATCH_REDIS_URL"):
        done = cli("list", env={name: os.fsdecode(b"redis://:p\xe9@localhost:1/0")})
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr and "p\\udce9" not in done.stderr and "Traceback" not in done.stderr
