"""Disks that are full: that of `run`'s state folder, and that of the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.exit_codes import ExitCode
from testing.environment.full_disk import fill
from testing.processes.forked_commands import StartedCommand
from tests.cli.conftest import Cli, Start

SmallDisk = Callable[[int], Path]


@pytest.fixture
def words(prompts: Path, tiny_model: Path) -> list[str | Path]:
    return ["run", prompts, "--model", tiny_model, "--no-compile", "--threads", "1", "--max-tokens", "8"]


@pytest.fixture
def many_prompts(tmp_path: Path) -> Path:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"prompt": "{number * 7919} {number * 104729}"}}\n' for number in range(20_000)))
    return path


@pytest.mark.parametrize("kibibytes", [4, 8, 24])
def test_a_state_folder_on_a_full_disk_is_named_at_once(
    bare_cli: Cli, words: list[str | Path], small_disk: SmallDisk, kibibytes: int
) -> None:
    disk = small_disk(kibibytes)
    done = bare_cli(*words, "-o", "out.jsonl", "--state-dir", disk)
    assert done.returncode == ExitCode.STORE_UNAVAILABLE, done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"Error: The disk of the state folder {disk}/runs/")
    assert f"of {kibibytes} KiB are free." in error
    assert "--state-dir" in hint


def test_prompts_that_do_not_fit_the_disk_end_run_with_the_disks_name(
    bare_cli: Cli, words: list[str | Path], many_prompts: Path, small_disk: SmallDisk
) -> None:
    disk = small_disk(200)
    words[1] = many_prompts
    done = bare_cli(*words, "-o", "out.jsonl", "--state-dir", disk)
    assert done.returncode == ExitCode.STORE_UNAVAILABLE, done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith(f"Error: The disk of the state folder {disk}/runs/")
    assert "--state-dir" in hint
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_while_run_works_is_named_and_run_goes_on_when_there_is_room(
    start: Start, words: list[str | Path], small_disk: SmallDisk, tmp_path: Path
) -> None:
    disk = small_disk(1_000)
    process = start(*words, "-o", "out.jsonl", "--state-dir", disk)
    line_with("waiting for a worker", process)  # the job is stored, and no line of it is finished
    filler = fill(disk)
    said = line_with("is full", process)
    assert said.startswith(f"Warning: The disk of the state folder {disk}/runs/")
    assert "--state-dir" in said and "waits" in said
    line_with("waiting for free space on the disk: ", process)
    filler.unlink()
    assert line_with("has free space again", process)
    _, rest = process.communicate(timeout=90)
    assert process.returncode == 0, rest
    assert "is full" not in rest
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 20


def test_results_that_do_not_fit_their_disk_are_kept_and_the_same_command_writes_them(
    bare_cli: Cli, words: list[str | Path], small_disk: SmallDisk
) -> None:
    output = small_disk(4) / "out.jsonl"
    (output.parent / "taken").write_bytes(b"x" * 4096)
    full = bare_cli(*words, "-o", output)
    assert full.returncode == ExitCode.INVALID_INPUT, full.stderr
    *_, error, hint = full.stderr.splitlines()
    assert error == f"Error: {output} cannot be written: its disk is full, 0 bytes are free."
    assert hint.endswith("The results are kept. Run the same command to write them.")
    small_disk(1_000)
    again = bare_cli(*words, "-o", output)
    assert again.returncode == 0, again.stderr
    assert "20 of 20 lines are finished" in again.stderr
    assert len(output.read_text().splitlines()) == 20


def line_with(words: str, process: StartedCommand) -> str:
    """The next line of talk that holds these words."""
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended and never said {words!r}")
