"""Write completions to result files in the format of the job's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from jobs.errors import InvalidInput, ResultsMissing
from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.missing_lines import MissingLines
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.files.results.reasoning import ReasoningField
from jobs.files.writing.destination import Destination, Output
from jobs.records.completion import Completion
from jobs.records.job import Job


@dataclass(frozen=True)
class ResultCounts:
    """Number of lines written."""

    completed: int
    failed: int
    missing: int = 0  # lines without a result, in an ended job that was written with `partial`
    missing_lines: str = ""  # the missing lines as text, such as `lines 17 to 32`


def default_errors(output: Destination) -> Destination:
    """Return the default file for failed lines of an OpenAI job: `results.jsonl` gives `results.errors.jsonl`."""
    return output.sibling(PurePosixPath(output.name).name.removesuffix(".jsonl") + ".errors.jsonl")


def write_results(
    completions: Iterable[Completion],
    job: Job,
    output: Destination | BinaryIO,
    errors: Destination | None = None,
    partial: bool = False,
    input_of: Callable[[int], LineInput] | None = None,
    reasoning: ReasoningField | None = None,
) -> ResultCounts:
    """Write results in the order of `completions`, in constant memory. A file appears complete or not at all.

    In the native format, `output` gets every line, including failed ones. `errors`, if given, gets the failed lines
    once more.

    In the OpenAI format, `output` gets the completed lines and `errors` the failed ones, as in OpenAI's service.
    Without `errors`, failed lines go to the stream if `output` is a stream, else to `default_errors`. The default
    file is written only if a line failed or the file exists already.

    Args:
        completions: Completions in input order, from `JobReader.results`.
        job: The job. It determines the format.
        output: A file, or a binary stream that stays open.
        errors: File for failed lines.
        partial: True to write the results that exist, even if the job has ended and lines are missing.
        input_of: Returns the columns of the line with an index, which go into `input`, and its file, which goes into
            `source`. None if no line has either.
        reasoning: Field that gets a completion's thought. None for the format's own name of it.

    Raises:
        ResultsMissing: The job has ended, and `completions` lacks some of its lines.
        OutputNotWritable: A file cannot be written.
        InvalidInput: `output` and `errors` are the same file.

    After any of these errors, a file that existed before is unchanged.
    """
    native = job.spec.format == "native"
    bad_to = errors
    if isinstance(output, Destination):
        _check_different(output, errors)
        if errors is None and not native:
            bad_to = default_errors(output)
    completed = failed = 0
    with ExitStack() as files:
        results = files.enter_context(output.open()) if isinstance(output, Destination) else output
        bad: Output | None = None
        if bad_to is not None and (errors is not None or bad_to.exists()):
            bad = files.enter_context(bad_to.open())
        missing = MissingLines(job.spec.num_lines)
        for completion in missing.watch(completions):
            kept = NO_INPUT if input_of is None else input_of(completion.index)
            if native:
                line = native_line(completion, kept, reasoning or ReasoningField.REASONING)
            else:
                line = openai_line(completion, job, kept, reasoning or ReasoningField.REASONING_CONTENT)
            if completion.error is None:
                completed += 1
                results.write(line)
                continue
            failed += 1
            if native or bad_to is None:
                results.write(line)
            if bad_to is not None:
                bad = bad or files.enter_context(bad_to.open())
                bad.write(line)
        lost = missing.count if job.state.ended else 0
        if lost and not partial:
            raise ResultsMissing(job.id, f"{lost:,} of {job.spec.num_lines:,}", str(missing))
    return ResultCounts(completed, failed, lost, str(missing) if lost else "")


def _check_different(output: Destination, errors: Destination | None) -> None:
    if errors is not None and errors.is_same(output):
        raise InvalidInput(f"Results and errors cannot both go to {output.name}.", "Give --errors another file.")
