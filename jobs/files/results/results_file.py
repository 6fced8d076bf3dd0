"""Write completions to result files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from jobs.errors import InvalidInput, ResultsMissing
from jobs.files.reading.container import Container
from jobs.files.results.flat_rows import FlatRows
from jobs.files.results.kept_columns import NO_INPUT, LineInput
from jobs.files.results.missing_lines import MissingLines
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.files.results.parts.reasoning import ReasoningField
from jobs.files.writing.destination import Destination, Output
from jobs.files.writing.file_format import FileFormat, compression_of, file_format
from jobs.files.writing.rows import RowSink, rows_to
from jobs.records.completion import Completion
from jobs.records.job import Job


@dataclass(frozen=True)
class ResultStyle:
    """The user's options for writing results."""

    container: Container | None = None  # format of `output`; None: the ending of the name decides
    flat: bool = False  # True: JSONL has flat rows, too, as tables do
    reasoning: ReasoningField | None = None  # field that gets a completion's thought; None: the format's own name

    def format_of(self, output: Destination | None) -> FileFormat:
        """Return the format of `output`, or of standard output for None. Raises `InvalidInput`."""
        return file_format("standard output" if output is None else output.name, self.container)

    def has_rows(self, output: Destination | None, errors: Destination | None) -> bool:
        """Return whether one of the files has flat rows."""
        formats = [self.format_of(output), *([] if errors is None else [file_format(errors.name)])]
        return self.flat or any(format.is_table for format in formats)


@dataclass(frozen=True)
class ResultCounts:
    """Number of lines written."""

    completed: int
    failed: int
    missing: int = 0  # lines without a result, in an ended job that was written with `partial`
    missing_lines: str = ""  # the missing lines as text, such as `lines 17 to 32`
    ended_in_thought: int = 0  # completed lines that have a thought but no answer
    cut_structured_outputs: int = 0  # completed lines whose structured output was cut off

    def warnings(self) -> list[str]:
        """Return what the reader of the results should know."""
        found = []
        if self.ended_in_thought:
            found.append(
                f"{_lines_have(self.ended_in_thought)} no answer: the completion ended inside the thought, whose "
                "tokens count for `max_tokens`. --no-thinking switches thoughts off, and --thinking-budget N ends them "
                "earlier."
            )
        if self.cut_structured_outputs:
            found.append(
                f"{_lines_have(self.cut_structured_outputs)} incomplete structured output: the completion reached "
                "`max_tokens`. --max-tokens N allows longer ones."
            )
        return found


def _lines_have(count: int) -> str:
    return "1 line has" if count == 1 else f"{count:,} lines have"


def default_errors(output: Destination) -> Destination:
    """Return the default file for failed lines of an OpenAI job: `results.jsonl` gives `results.errors.jsonl`."""
    name = PurePosixPath(output.name).name
    compression = compression_of(name) or ""
    bare = name[: len(name) - len(compression)].removesuffix(".jsonl")
    return output.sibling(f"{bare}.errors.jsonl{compression}")


def write_results(
    completions: Iterable[Completion],
    job: Job,
    output: Destination | BinaryIO,
    errors: Destination | None = None,
    partial: bool = False,
    input_of: Callable[[int], LineInput] | None = None,
    style: ResultStyle = ResultStyle(),
) -> ResultCounts:
    """Write results in the order of `completions`, in constant memory. A file appears complete or not at all.

    `output` gets every line, including failed ones. `errors`, if given, gets the failed lines once more.

    JSONL of a job in the OpenAI format is different, unless it is flat: `output` gets the completed lines and `errors`
    the failed ones, as in OpenAI's service. Without `errors`, failed lines go to the stream if `output` is a stream,
    else to `default_errors`. The default file is written only if a line failed or the file exists already.

    Args:
        completions: Completions in input order, from `JobReader.results`.
        job: The job. It determines the format of JSONL.
        output: A file, or a binary stream that stays open.
        errors: File for failed lines. Its name decides its format.
        partial: True to write the results that exist, even if the job has ended and lines are missing.
        input_of: Returns the columns of the line with an index, which go into `input`, and its file, which goes into
            `source`. None if no line has either.
        style: How `output` is written.

    Raises:
        ResultsMissing: The job has ended, and `completions` lacks some of its lines.
        OutputNotWritable: A file cannot be written.
        InvalidInput: `output` and `errors` are the same file, or a file's format cannot be written.

    After any of these errors, a file that existed before is unchanged.
    """
    place = output if isinstance(output, Destination) else None
    format = style.format_of(place)
    has_failed = job.spec.format == "native" or style.flat or format.is_table
    _check_different(place, errors)
    with ExitStack() as stack:
        files = _Files(stack, job, style)
        results = files.add(stack.enter_context(output.open()) if isinstance(output, Destination) else output, format)
        bad_to = default_errors(place) if errors is None and place is not None and not has_failed else errors
        failures = _Failures(files, bad_to, even_if_none=errors is not None)
        counts, missing = _Counts(), MissingLines(job.spec.num_lines)
        for completion in counts.watch(missing.watch(completions)):
            kept = NO_INPUT if input_of is None else input_of(completion.index)
            if completion.error is not None:
                failures.write(completion, kept)
            if completion.error is None or has_failed or not failures.have_a_file:
                results.write(completion, kept)
        files.finish()
        lost = missing.count if job.state.ended else 0
        if lost and not partial:
            raise ResultsMissing(job.id, f"{lost:,} of {job.spec.num_lines:,}", str(missing))
    return counts.with_missing(lost, str(missing) if lost else "")


class _Counts:
    """Counts completions on their way into a file."""

    def __init__(self) -> None:
        self._completed = self._failed = self._ended_in_thought = self._cut = 0

    def watch(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        for completion in completions:
            if completion.error is None:
                self._completed += 1
                self._ended_in_thought += completion.ended_in_thought
                self._cut += completion.has_cut_output
            else:
                self._failed += 1
            yield completion

    def with_missing(self, missing: int, missing_lines: str) -> ResultCounts:
        return ResultCounts(self._completed, self._failed, missing, missing_lines, self._ended_in_thought, self._cut)


def _check_different(output: Destination | None, errors: Destination | None) -> None:
    if output is not None and errors is not None and errors.is_same(output):
        raise InvalidInput(f"Results and errors cannot both go to {output.name}.", "Give --errors another file.")


@dataclass(frozen=True)
class _ResultFile:
    """One file of results."""

    sink: RowSink
    line_of: Callable[[Completion, LineInput], bytes]

    def write(self, completion: Completion, kept: LineInput) -> None:
        self.sink.write(self.line_of(completion, kept))


class _Files:
    """Opens the files of one call.

    Args:
        stack: Closes the files.
        job: The job.
        style: How the files are written. Its container applies only to the first one.
    """

    def __init__(self, stack: ExitStack, job: Job, style: ResultStyle) -> None:
        self._stack = stack
        self._job = job
        self._style = style
        self._sinks: list[RowSink] = []

    def open(self, place: Destination) -> _ResultFile:
        return self.add(self._stack.enter_context(place.open()), file_format(place.name))

    def add(self, output: Output, format: FileFormat) -> _ResultFile:
        job, reasoning = self._job, self._style.reasoning
        rows = FlatRows(job.spec.format, reasoning or ReasoningField.REASONING)
        sink = self._stack.enter_context(rows_to(output, format, lambda: rows.layout(job.column_types)))
        self._sinks.append(sink)
        if self._style.flat or format.is_table:
            return _ResultFile(sink, rows.row)
        if job.spec.format == "native":
            native = reasoning or ReasoningField.REASONING
            return _ResultFile(sink, lambda completion, kept: native_line(completion, kept, native))
        openai = reasoning or ReasoningField.REASONING_CONTENT
        return _ResultFile(sink, lambda completion, kept: openai_line(completion, job, kept, openai))

    def finish(self) -> None:
        for sink in self._sinks:
            sink.finish()


class _Failures:
    """The failed lines' file, if they have one. It is written if a line failed, if it exists, or `even_if_none`."""

    def __init__(self, files: _Files, place: Destination | None, even_if_none: bool) -> None:
        self._files = files
        self._place = place
        self._opened = files.open(place) if place is not None and (even_if_none or place.exists()) else None

    @property
    def have_a_file(self) -> bool:
        return self._place is not None

    def write(self, completion: Completion, kept: LineInput) -> None:
        if self._place is None:
            return
        self._opened = self._opened or self._files.open(self._place)
        self._opened.write(completion, kept)
