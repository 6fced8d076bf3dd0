"""Result files: which line goes where, and that a file appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec import structs

from jobs.errors import InvalidInput, OutputNotWritable
from jobs.files.results.results_file import ResultCounts, default_errors, write_results
from jobs.files.writing.destination import LocalFile
from jobs.files.writing.output_file import OutputFile, check_writable
from jobs.records.completion import Completion, ErrorCode, Usage
from jobs.records.job import Format, Job, JobState, NewJob
from jobs.records.sampling import FinishReason, SamplingSettings


def job(format: Format, lines: int = 3) -> Job:
    spec = NewJob("job-1", "demo", format, SamplingSettings(), 0, lines, 16, "prompts.jsonl", 1000.0)
    return Job(spec, JobState.COMPLETED, False, 2, 1, 1, 1, 1, None, None, None, None)


def done(index: int) -> Completion:
    return Completion(index, f"q-{index}", "text", FinishReason.STOP, Usage(1, 2), endpoint="chat")


def failed(index: int) -> Completion:
    return Completion.failed(index, f"q-{index}", ErrorCode.PROMPT_TOO_LONG, "Too long.", "chat")


MIXED = [done(0), failed(1), done(2)]


def ids(path: Path, key: str = "id") -> list[str]:
    return [json.loads(line)[key] for line in path.read_text().splitlines()]


def write(completions: Iterable[Completion], job: Job, output: Path, errors: Path | None = None) -> ResultCounts:
    return write_results(completions, job, LocalFile(output), LocalFile(errors) if errors is not None else None)


def test_native_results_hold_every_line_in_order_and_errors_once_more(tmp_path: Path) -> None:
    output, errors = tmp_path / "results.jsonl", tmp_path / "errors.jsonl"
    assert write(MIXED, job("native"), output, errors) == ResultCounts(completed=2, failed=1)
    assert ids(output) == ["q-0", "q-1", "q-2"]
    assert ids(errors) == ["q-1"]


def test_lines_that_ended_in_their_thought_are_counted(tmp_path: Path) -> None:
    cut = Completion(2, "q-2", "", FinishReason.LENGTH, Usage(1, 9, 9), ended_in_thought=True)
    counts = write([*MIXED[:2], cut], job("native"), tmp_path / "results.jsonl")
    assert counts == ResultCounts(completed=2, failed=1, ended_in_thought=1)
    assert counts.warnings()[0].startswith("1 line has no answer")
    assert ResultCounts(2, 1).warnings() == []


def test_lines_whose_structured_output_was_cut_off_are_counted(tmp_path: Path) -> None:
    cut = Completion(2, "q-2", '{"a": ', FinishReason.LENGTH, Usage(1, 9), cut_structured_outputs=2)
    thought = structs.replace(cut, index=3, id="q-3", text="", ended_in_thought=True)  # this has a warning of its own
    counts = write([*MIXED[:2], cut, thought], job("native", lines=4), tmp_path / "results.jsonl")
    assert counts == ResultCounts(completed=3, failed=1, ended_in_thought=1, cut_structured_outputs=1)
    assert counts.warnings()[1] == (
        "1 line has incomplete structured output: the completion reached `max_tokens`. "
        "--max-tokens N allows longer ones."
    )


def test_native_results_make_no_error_file_unless_it_is_asked_for(tmp_path: Path) -> None:
    write(MIXED, job("native"), tmp_path / "results.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_an_error_file_that_is_asked_for_is_there_even_if_it_is_empty(tmp_path: Path) -> None:
    write([done(0)], job("native", 1), tmp_path / "results.jsonl", tmp_path / "errors.jsonl")
    assert (tmp_path / "errors.jsonl").read_bytes() == b""


def test_openai_results_and_errors_go_to_two_files(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    assert write(MIXED, job("openai"), output) == ResultCounts(completed=2, failed=1)
    assert ids(output, "custom_id") == ["q-0", "q-2"]
    assert ids(tmp_path / "results.errors.jsonl", "custom_id") == ["q-1"]


def test_openai_results_without_errors_make_no_error_file_but_empty_an_old_one(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    write([done(0)], job("openai", 1), output)
    assert not default_errors(LocalFile(output)).exists()
    write(MIXED, job("openai"), output)
    write([done(0)], job("openai", 1), output)
    assert (tmp_path / "results.errors.jsonl").read_bytes() == b""


def test_the_default_error_file_is_named_after_the_results() -> None:
    assert default_errors(LocalFile(Path("a/results.jsonl"))).name == "a/results.errors.jsonl"
    assert default_errors(LocalFile(Path("results.v1"))).name == "results.v1.errors.jsonl"


@pytest.mark.parametrize("format", ["native", "openai"])
def test_a_stream_gets_every_line_and_stays_open(format: Format) -> None:
    stream = io.BytesIO()
    assert write_results(MIXED, job(format), stream) == ResultCounts(2, 1)
    key = "id" if format == "native" else "custom_id"
    assert [json.loads(line)[key] for line in stream.getvalue().splitlines()] == ["q-0", "q-1", "q-2"]


def test_failed_openai_lines_leave_a_stream_for_the_file_that_is_named(tmp_path: Path) -> None:
    stream, errors = io.BytesIO(), tmp_path / "errors.jsonl"
    write_results(MIXED, job("openai"), stream, LocalFile(errors))
    assert len(stream.getvalue().splitlines()) == 2
    assert ids(errors, "custom_id") == ["q-1"]


def test_results_and_errors_cannot_go_to_one_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot both go to"):
        write(MIXED, job("native"), tmp_path / "a", tmp_path / "b" / ".." / "a")
    write(MIXED, job("native"), Path("/dev/null"), Path("/dev/null"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_broken_off_writing_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def completions() -> Iterator[Completion]:
        yield failed(0)
        raise error

    output = tmp_path / "results.jsonl"
    output.write_text("old")
    with pytest.raises(error):
        write(completions(), job("openai"), output)
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


WRITER = """
import sys
from pathlib import Path
from jobs.files.writing.output_file import OutputFile
with OutputFile(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start_writer(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts a process that has begun to write a file and waits. It is killed at the end of the test."""
    with ExitStack() as started:

        def start(path: Path) -> subprocess.Popen[bytes]:
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            started.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == b"writing\n"
            return process

        yield start


def test_what_a_killed_writer_left_is_removed_by_the_next_one(
    tmp_path: Path, start_writer: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    output, link = tmp_path / "results.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(output)
    for writer in [start_writer(output), start_writer(link)]:
        writer.kill()
        writer.wait()
    bystanders = [tmp_path / ".other.jsonl.0a1b2c3d.tmp", tmp_path / ".results.jsonl.notes.tmp"]
    for bystander in bystanders:
        bystander.touch()
    assert len(list(tmp_path.iterdir())) == 5
    write(MIXED, job("native"), output)
    assert sorted(tmp_path.iterdir()) == sorted([output, link, *bystanders])


def test_the_temporary_file_of_a_living_writer_is_left_alone(
    tmp_path: Path, start_writer: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    output = tmp_path / "results.jsonl"
    start_writer(output)
    (temporary,) = tmp_path.iterdir()
    write(MIXED, job("native"), output)
    check_writable(output)
    assert sorted(tmp_path.iterdir()) == sorted([temporary, output])


def test_many_processes_that_write_one_file_at_once_all_succeed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from jobs.files.writing.output_file import OutputFile\n"
        "for _ in range(100):\n"
        "    with OutputFile(Path(sys.argv[1])) as file: file.write(sys.argv[2].encode() * 1000)"
    )
    output = tmp_path / "results.jsonl"
    writers = [subprocess.Popen([sys.executable, "-P", "-c", script, str(output), str(number)]) for number in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(set(output.read_text())) == 1 and output.stat().st_size == 1000
    assert list(tmp_path.iterdir()) == [output]


def test_nothing_is_at_the_target_before_the_end(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    with OutputFile(output) as file:
        file.write(b"x" * 1_000_000)
        assert not output.exists()
    assert output.stat().st_size == 1_000_000


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(MIXED, job("native"), tmp_path / "results.jsonl")
    finally:
        os.umask(before)
    assert (tmp_path / "results.jsonl").stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_keeps_pointing_where_it_points(tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "target.jsonl")
    write(MIXED, job("native"), link)
    assert link.is_symlink()
    assert len(ids(tmp_path / "target.jsonl")) == 3


def test_a_device_is_written_to_and_never_replaced() -> None:
    check_writable(Path("/dev/null"))
    write(MIXED, job("native"), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is Linux's")
def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    with pytest.raises(OutputNotWritable, match="/dev/full cannot be written: its disk is full"):
        write(MIXED * 10_000, job("native"), Path("/dev/full"))


def test_an_output_path_that_cannot_be_written_is_found_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "no" / "results.jsonl", tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(OutputNotWritable, match="cannot be written"):
            check_writable(path)
        with pytest.raises(OutputNotWritable, match="cannot be written"):
            write(MIXED, job("native"), path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_of_an_output_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "not made"
    with pytest.raises(OutputNotWritable) as refusal:
        check_writable(folder / "results.jsonl")
    assert refusal.value.message == f"{folder}/results.jsonl cannot be written: there is no folder {folder}."
    assert refusal.value.hint.startswith(f"Make the folder with `mkdir -p '{folder}'`, or ")
    subprocess.run(["sh", "-c", refusal.value.hint.split("`")[1]], check=True)
    check_writable(folder / "results.jsonl")


def test_a_file_in_the_place_of_an_outputs_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match=f"{tmp_path}/file is a file and no folder"):
        check_writable(tmp_path / "file" / "folder" / "results.jsonl")


def test_an_early_check_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text("old")
    check_writable(old)
    check_writable(tmp_path / "new.jsonl")
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.jsonl"]


def test_memory_is_flat_whatever_the_number_of_results(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    tracemalloc.start()
    counts = write((done(index) for index in range(30_000)), job("openai", 30_000), output)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts.completed == 30_000
    assert peak < 2 * 2**20 < output.stat().st_size
