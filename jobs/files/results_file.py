"""From completions to result files in the format of the job's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jobs.errors import InvalidInput, ResultsMissing
from jobs.files.formats.native_results import native_line
from jobs.files.formats.openai_results import openai_line
from jobs.files.missing_lines import MissingLines
from jobs.files.output_file import OutputFile, is_replaceable
from jobs.records.completion import Completion
from jobs.records.job import Job


@dataclass(frozen=True)
class ResultCounts:
    """Lines written."""

    completed: int
    failed: int
    missing: int = 0  # lines of an ended job that `partial` let pass
    missing_lines: str = ""  # which they are: `lines 17 to 32`


def default_errors_path(output: Path) -> Path:
    """Where failed lines of an OpenAI job go if nothing else is said: `results.jsonl` → `results.errors.jsonl`."""
    return output.with_name(output.name.removesuffix(".jsonl") + ".errors.jsonl")


def write_results(
    completions: Iterable[Completion],
    job: Job,
    output: Path | BinaryIO,
    errors: Path | None = None,
    partial: bool = False,
) -> ResultCounts:
    """Write results in the order they come, in constant memory; files appear whole or not at all.

    Native: `output` gets every line, errors among them; `errors`, if given, gets the failed ones once more.
    OpenAI: `output` gets the completed lines and `errors` the failed ones, as that service does. Without `errors`
    they go to `default_errors_path`, which is written only if a line failed or an older one lies there; beside a
    stream they go to the stream.

    Args:
        completions: `JobStore.results`.
        job: Decides the format.
        output: A file, or a binary stream that stays open.
        errors: A file.
        partial: Write what there is, even if the job has ended and lines of it are missing.

    Raises:
        ResultsMissing: The job has ended, and `completions` lacks some of its lines.
        OutputNotWritable: A file cannot be written. Whatever is raised, a file that stood there before is still whole.
        InvalidInput: `output` and `errors` are the same file.
    """
    native = job.spec.format == "native"
    render: Callable[[Completion], bytes] = native_line if native else lambda completion: openai_line(completion, job)
    errors_path = errors
    if isinstance(output, Path):
        _check_different(output, errors)
        if errors is None and not native:
            errors_path = default_errors_path(output)
    completed = failed = 0
    with ExitStack() as files:
        results = files.enter_context(OutputFile(output)) if isinstance(output, Path) else output
        bad: OutputFile | None = None
        if errors_path is not None and (errors is not None or errors_path.exists()):
            bad = files.enter_context(OutputFile(errors_path))
        missing = MissingLines(job.spec.num_lines)
        for completion in missing.watch(completions):
            line = render(completion)
            if completion.error is None:
                completed += 1
                results.write(line)
                continue
            failed += 1
            if native or errors_path is None:
                results.write(line)
            if errors_path is not None:
                bad = bad or files.enter_context(OutputFile(errors_path))
                bad.write(line)
        lost = missing.count if job.state.ended else 0
        if lost and not partial:
            raise ResultsMissing(job.id, f"{lost:,} of {job.spec.num_lines:,}", str(missing))
    return ResultCounts(completed, failed, lost, str(missing) if lost else "")


def _check_different(output: Path, errors: Path | None) -> None:
    if errors is not None and errors.resolve() == output.resolve() and is_replaceable(output):
        raise InvalidInput(f"Results and errors cannot both go to {output}.", "Give --errors another file.")
