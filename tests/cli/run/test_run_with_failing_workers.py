"""`run` whose workers end by themselves: while they load their model, and after it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cli.run.local_workers import MAX_RESTARTS, LocalWorkers
from cli.run.worker_failure import LocalWorkerFailed
from jobs.exit_codes import ExitCode
from jobs.settings import Settings
from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli

# Python reads `sitecustomize` at every start. This one notes each start of a worker, which then goes wrong somewhere.
NOTES_STARTS = """
import os, signal, sys
if "worker" in sys.orig_argv:
    with open(os.environ["STARTS"], "a") as file:
        file.write("started\\n")
"""
FAILS_TO_LOAD = """
    import worker.start
    def load(*_):
        raise RuntimeError("bf16 path needs the cpu support avx512bw\\nand this is a second line")
    worker.start.card_of_folder = load
"""
IS_KILLED_WHILE_LOADING = """
    import worker.start
    worker.start.card_of_folder = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
DIES_IMPORTING = """
    sys.modules["worker.main"] = None
"""
IS_READY_AND_DIES = """
    os.write(int(os.environ["QWEN_BATCH_READY_FD"]), b"\\n")
    os.write(2, b"the device fell off the bus\\n")
    os._exit(9)
"""

HAVE_NOTICES = """
    os.write(int(os.environ["QWEN_BATCH_READY_FD"]), b"\\nRunning in float32.\\nRunning without the C++ kernels.\\n")
    signal.pause()
"""


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file that gets a line for each worker that starts."""
    (tmp_path / "starts").touch()
    return tmp_path / "starts"


def workers_that(go_wrong: str, starts: Path) -> dict[str, str]:
    """The variables with which every worker goes wrong in that way."""
    folder = starts.with_name("patched")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NOTES_STARTS + go_wrong)
    return {"PYTHONPATH": str(folder), "STARTS": str(starts)}


def open_descriptors() -> set[tuple[int, int]]:
    """This process's descriptors, each with the file that it belongs to."""
    found = set()
    for entry in list(Path("/dev/fd").iterdir()):
        with suppress(OSError):  # the descriptor that listed the folder is closed again
            found.add((int(entry.name), os.fstat(int(entry.name)).st_ino))
    return found


def logs_named_in(text: str) -> list[Path]:
    return [Path(word.rstrip(".")) for word in text.split() if word.rstrip(".").endswith(".log")]


@pytest.mark.parametrize(
    ("go_wrong", "said"),
    [
        (FAILS_TO_LOAD, "RuntimeError: bf16 path needs the cpu support avx512bw\n"),
        (IS_KILLED_WHILE_LOADING, "killed by SIGKILL while it loaded the model: is there enough memory?"),
        (DIES_IMPORTING, "ended with exit code 1 while it loaded the model. Its last log line is: ModuleNotFoundError"),
    ],
    ids=["an error", "a signal", "an import"],
)
def test_a_worker_that_fails_while_it_loads_is_started_once_and_run_says_why_in_one_line(
    bare_cli: Cli, prompts: Path, tiny_model: Path, starts: Path, go_wrong: str, said: str
) -> None:
    words = ["run", prompts, "-o", "out.jsonl", "--model", tiny_model, "--no-compile"]
    done = bare_cli(*words, env=workers_that(go_wrong, starts))
    assert done.returncode == ExitCode.JOB_NOT_COMPLETED, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "second line" not in done.stderr
    assert starts.read_text().count("started") == 1
    (log,) = logs_named_in(done.stderr)
    assert ("Traceback" in log.read_text()) == (go_wrong != IS_KILLED_WHILE_LOADING)


def test_a_worker_by_itself_ends_with_the_errors_last_line_after_its_traceback(
    cli: Cli, valkey: ValkeyProcess, tiny_model: Path, starts: Path
) -> None:
    done = cli("worker", "--model", tiny_model, "--no-compile", env=workers_that(FAILS_TO_LOAD, starts))
    assert done.returncode == ExitCode.NOT_LOADED
    *log, error, hint = done.stderr.splitlines()
    assert error == (
        f"Error: The worker failed while it loaded {tiny_model}: RuntimeError: bf16 path needs the cpu support avx512bw"
    )
    assert "traceback" in hint
    assert any(line.startswith("Traceback") for line in log)
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(("signal_number", "name"), [(signal.SIGABRT, "SIGABRT"), (40, "signal 40")])
def test_the_signal_that_ends_a_worker_is_told_by_its_name(tmp_path: Path, signal_number: int, name: str) -> None:
    log = tmp_path / "worker-1.log"
    log.write_text("loading the model\nfree(): corrupted unsorted chunks\n")
    assert LocalWorkerFailed.while_loading(log, -signal_number).message == (
        f"The worker was killed by {name} while it loaded the model. "
        "Its last log line is: free(): corrupted unsorted chunks"
    )


def check_until_they_fail(workers: LocalWorkers) -> None:
    while True:
        workers.check(lines_done=0)
        time.sleep(0.01)  # the processes end when they end


def test_workers_that_crash_after_loading_are_started_again_until_the_line_at_fault_would_be_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, starts: Path
) -> None:
    for name, value in workers_that(IS_READY_AND_DIES, starts).items():
        monkeypatch.setenv(name, value)
    before = open_descriptors()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        assert len(said) <= MAX_RESTARTS

    with pytest.raises(LocalWorkerFailed) as error, LocalWorkers(Settings(), 1, tmp_path, say) as workers:
        check_until_they_fail(workers)
    assert set(said) == {
        "A worker ended with exit code 9 and is started again. Its last log line is: the device fell off the bus"
    }
    assert len(said) == MAX_RESTARTS
    assert error.value.exit_code is ExitCode.JOB_NOT_COMPLETED
    assert f"{MAX_RESTARTS + 1} times" in error.value.message
    assert "exit code 9" in error.value.message
    assert "the device fell off the bus" in error.value.message
    assert starts.read_text().count("started") == MAX_RESTARTS + 1
    # The garbage collector may have closed a file of another test in between.
    assert open_descriptors() <= before


def test_the_notices_of_workers_are_passed_on_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, starts: Path
) -> None:
    for name, value in workers_that(HAVE_NOTICES, starts).items():
        monkeypatch.setenv(name, value)
    notices: list[str] = []
    with LocalWorkers(Settings(), 2, tmp_path, notify=notices.append) as workers:
        while "started\nstarted\n" not in starts.read_text() or len(notices) < 2:
            workers.check(lines_done=0)
            time.sleep(0.01)  # the processes start when they start
        workers.check(lines_done=0)
    assert notices == ["Running in float32.", "Running without the C++ kernels."]


def test_run_shows_the_notices_of_its_workers_once(
    bare_cli: Cli, prompts: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["run", prompts, "-o", "out.jsonl", "--model", tiny_model, "--no-compile", "--max-tokens", "2"]
    no_compiler = {"CXX": "/no/compiler", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = bare_cli(*words, "--workers", "2", env=no_compiler)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Running without the C++ kernels, much slower: ") == 1


def test_a_descriptor_that_cannot_be_written_to_is_named(cli: Cli, tiny_model: Path) -> None:
    done = cli("worker", "--model", tiny_model, "--no-compile", env={"QWEN_BATCH_READY_FD": "77"})
    assert done.returncode == ExitCode.INVALID_INPUT
    assert "Error: `ready_fd` is 77; it must be" in done.stderr
    assert "Traceback" not in done.stderr
