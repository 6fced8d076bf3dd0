"""Read the results of a job while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import msgspec

from jobs.errors import ResultsMissing, StoreUnavailable
from jobs.files.file_report import LineNumbers
from jobs.files.results.kept_columns import LineInput
from jobs.files.results.native_lines import native_line
from jobs.records.completion import Completion, LineError, Usage
from jobs.records.job import Job, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.stores.client_facets import JobReader

_Arguments = ParamSpec("_Arguments")
_Found = TypeVar("_Found")

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 30.0  # long enough for a server to restart, as for the commands
_SHARDS_AHEAD = 8  # shards are leased in order; after so many shards without news, the later ones are not read


class Choice(msgspec.Struct, frozen=True):
    """One of several completions of a row."""

    index: int  # from 0
    completion: str
    finish_reason: FinishReason | None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    token_ids: tuple[int, ...] | None = None
    stop_reason: str | int | None = None
    logprobs: list[dict[str, Any]] | None = None


class Result(msgspec.Struct, frozen=True):
    """The result of one row: a completion or an error. All fields but two are those of `qwen-batch results`.

    A line of `qwen-batch results` has no `ended_in_thought` and no `cut_structured_output`.
    """

    id: str | None  # None for a bad row without its own id
    completion: str | None = None  # None if the row failed, and for a row that asks for no text
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: LineError | None = None
    embedding: list[float] | str | None = None  # for a row that asks for one; base64 text if the row says so
    embeddings: list[list[float] | str] | None = None  # for a row that asks for several
    results: list[dict[str, Any]] | None = None  # the documents of a row that ranks them, the most relevant one first
    reasoning: str | None = None  # what the model thought before the completion
    ended_in_thought: bool = False  # True: the completion is empty, because its tokens did not suffice for the thought
    cut_structured_output: bool = False  # True: the completion is incomplete, because it reached `max_tokens`
    choices: list[Choice] | None = None  # all completions, if the row asked for several
    tool_calls: list[dict[str, Any]] | None = None  # calls of the row's tools, in the shape of the OpenAI API
    stop_reason: str | int | None = None  # stop string or stop token that ended the completion
    token_ids: tuple[int, ...] | None = None  # only if the row asked for them
    logprobs: list[dict[str, Any]] | None = None  # tokens with log-probabilities, if the row asked for them
    best: str | None = None  # likeliest choice, if the row has choices to score
    scores: list[dict[str, Any]] | None = None  # each of these choices with its log-probability and probability
    line: int | None = None  # number of a bad row without its own id, from 1
    source: str | None = None  # file of the row, if the job was made of several
    input: dict[str, Any] = {}  # columns of the row, as far as they were kept


_decode = msgspec.json.Decoder(Result).decode


@dataclass(frozen=True)
class ResultReader:
    """Iterates over the results of one job, and waits for those that are not there yet.

    The iterators keep the lines of a few shards in memory, for a job of any size. They raise `ResultsMissing` after the
    last result if the job has ended and lacks results. While the store restarts, they wait for it. They raise
    `StoreUnavailable` if it does not answer the first look, or later for `patience_seconds`.
    """

    jobs: JobReader
    job_id: str
    check: Callable[[Job], None]  # called with the job after each look at it; its exceptions end the iteration
    poll_seconds: float = POLL_SECONDS
    patience_seconds: float = PATIENCE_SECONDS

    def in_order(self) -> Iterator[Result]:
        """Yield each result once the results of all earlier rows are there."""
        missing, shard = LineNumbers(), 0
        job = self._look()
        while shard < job.spec.num_shards:
            given, size = 0, 1
            while given < size:
                lines = self._patiently(self.jobs.lines, ShardRef(self.job_id, shard))
                size = len(lines)
                for prompt, completion in lines[given:]:
                    if completion is not None:
                        yield _result(prompt, completion)
                    elif job.state.ended:
                        missing.add(prompt.index + 1)
                    else:
                        time.sleep(self.poll_seconds)
                        break
                    given += 1
                job = self._patiently(self._look)  # after the lines: they are complete only if the job had ended before
            shard += 1
        _require_none(missing, job)

    def as_they_finish(self) -> Iterator[Result]:
        """Yield each result soon after its row has finished."""
        given: dict[int, set[int] | None] = {}  # shard -> positions of the results so far; None for all of them
        first = 0  # all results of earlier shards were yielded
        job = self._look()
        while True:
            missing, quiet = LineNumbers(), 0
            for shard in range(first, job.spec.num_shards):
                before = given.setdefault(shard, set())
                if before is None:
                    continue
                new, lacking = self._news(shard, before)
                yield from new
                given[shard] = before if lacking else None
                for number in lacking:
                    missing.add(number)
                quiet = 0 if new else quiet + 1
                if quiet == _SHARDS_AHEAD and not job.state.ended:
                    break
            if job.state.ended:
                return _require_none(missing, job)
            while given.get(first, ()) is None:
                del given[first]
                first += 1
            time.sleep(self.poll_seconds)
            job = self._patiently(self._look)

    def _news(self, shard: int, before: set[int]) -> tuple[list[Result], list[int]]:
        """Return the results that are not in `before`, and the numbers of the rows without one. Adds to `before`."""
        new, lacking = [], []
        for position, (prompt, completion) in enumerate(self._patiently(self.jobs.lines, ShardRef(self.job_id, shard))):
            if completion is None:
                lacking.append(prompt.index + 1)
            elif position not in before:
                before.add(position)
                new.append(_result(prompt, completion))
        return new, lacking

    def _patiently(
        self, read: Callable[_Arguments, _Found], *arguments: _Arguments.args, **options: _Arguments.kwargs
    ) -> _Found:
        """Return what `read` returns. While the store does not answer, try again, for `patience_seconds`."""
        ends_at: float | None = None
        while True:
            try:
                return read(*arguments, **options)
            except StoreUnavailable:
                ends_at = ends_at or time.monotonic() + self.patience_seconds
                if time.monotonic() > ends_at:
                    raise
                time.sleep(self.poll_seconds)

    def _look(self) -> Job:
        job = self.jobs.get(self.job_id)
        self.check(job)
        return job


def _require_none(missing: LineNumbers, job: Job) -> None:
    if missing.count:
        raise ResultsMissing(job.id, f"{missing.count:,} of {job.spec.num_lines:,}", f"lines {missing}")


def _result(prompt: Prompt, completion: Completion) -> Result:
    result = _decode(native_line(completion, LineInput(prompt.columns, prompt.source)))
    return msgspec.structs.replace(
        result,
        ended_in_thought=completion.ended_in_thought,
        cut_structured_output=completion.has_cut_output,
    )
