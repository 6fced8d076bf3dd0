"""Everything that a shard runner works with, in one place where tests can reach it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from jobs.records.completion import Completion
from jobs.records.job import Job, NewJob, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from tests.worker.fake_engine import FakeEngine
from tests.worker.fake_tokenizer import VOCAB_SIZE, FakeGrammars, FakeTokenizer
from tests.worker.flaky_store import FlakyStore
from tests.worker.recorded_hints import RecordedHints
from worker.facts import WorkerFacts
from worker.shards.active_shards import ActiveShards
from worker.shards.preparation import Preparation
from worker.shards.shard_dispatcher import ShardDispatcher
from worker.shards.shard_runner import Outcome, ShardRunner
from worker.upkeep.lease_keeper import LeaseKeeper
from worker.upkeep.store_link import StoreLink

MODEL = "fake"
CARD = ModelCard(name=MODEL, vocab_size=VOCAB_SIZE, max_model_len=1_001, has_chat_template=True)
PATIENCE_SECONDS = 60.0  # that a busy machine may take for what takes milliseconds on a quiet one
_numbers = itertools.count()


def prompts(count: int) -> list[Prompt]:
    """Lines `p0`, `p1`, … whose answers are `0p`, `1p`, …"""
    return [Prompt(index, f"id-{index}", text=f"p{index}") for index in range(count)]


class ShardBench:
    """One worker over a store, with a job per call of `add_job`.

    Args:
        store: A real one.
        ttl_seconds: Of leases.
        max_num_seqs: Lines that its engine runs together.
        poll_seconds: Pause between two looks for room.
    """

    def __init__(
        self, store: JobStore, ttl_seconds: float = 4.0, max_num_seqs: int = 1_000, poll_seconds: float = 0.05
    ) -> None:
        self.real_store = store
        self.store = FlakyStore(store)
        self.engine = FakeEngine()
        self.hints = RecordedHints()
        self.active = ActiveShards()
        self.facts = WorkerFacts(f"host:1:{next(_numbers)}", MODEL, "cpu", "float32", "none")
        self.link = StoreLink(self.active.stopping)
        self.keeper = LeaseKeeper(
            work=self.store.work, worker_id=self.facts.worker_id, ttl_seconds=ttl_seconds, link=self.link
        )
        self.dispatcher = ShardDispatcher(self.keeper, self.engine, self.active, MODEL, max_num_seqs, poll_seconds)
        self.runner = ShardRunner(
            store=self.store,
            hints=self.hints,
            engine=self.engine,
            preparation=Preparation(FakeTokenizer(), CARD, FakeGrammars()),
            lease_keeper=self.keeper,
            dispatcher=self.dispatcher,
            link=self.link,
            active=self.active,
            facts=self.facts,
            flush_seconds=0.01,
        )
        self.keeper.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.active.stop()
        self.engine.finish_from_now_on()
        assert self.active.wait_until_idle(PATIENCE_SECONDS)
        self.keeper.stop()

    def add_job(self, lines: Sequence[Prompt], job_id: str = "job", shard_size: int | None = None) -> list[ShardRef]:
        """Submit a job; returns its shards."""
        size = shard_size or max(1, len(lines))
        spec = NewJob(job_id, MODEL, "native", SamplingSettings(), 5, len(lines), size, "file", created_at=time.time())
        self.real_store.submissions.create(spec)
        for index in range(spec.num_shards):
            self.real_store.submissions.add_shard(ShardRef(job_id, index), lines[index * size : (index + 1) * size])
        return self.real_store.submissions.open(job_id)

    def run_when_free(self, shard: ShardRef, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Run a shard to its end as soon as nobody holds it any more."""
        deadline = time.monotonic() + timeout_seconds
        while self.runner.run(shard) is Outcome.NOTHING_TO_DO:
            assert time.monotonic() < deadline, "still held"
            time.sleep(0.02)  # a lease ends by the server's clock alone

    def start(self, shard: ShardRef) -> Running:
        """Run a shard on a thread of its own."""
        return Running(lambda: self.runner.run(shard))

    def start_held(self, num_lines: int) -> tuple[ShardRef, Running]:
        """Run a job of one shard on a thread of its own, until the engine has all lines and holds them."""
        self.engine.hold()
        (shard,) = self.add_job(prompts(num_lines))
        running = self.start(shard)
        self.engine.wait_for_submitted(num_lines)
        return shard, running

    def job(self, job_id: str = "job") -> Job:
        return self.real_store.jobs.get(job_id)

    def results(self, job_id: str = "job") -> list[Completion]:
        return list(self.real_store.jobs.results(job_id))

    def texts(self, job_id: str = "job") -> list[str | None]:
        return [completion.text for completion in self.results(job_id)]

    def wait_until_done(self, count: int, job_id: str = "job", timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Return once so many lines of the job have a result."""
        deadline = time.monotonic() + timeout_seconds
        while self.job(job_id).done < count:
            assert time.monotonic() < deadline, f"{self.job(job_id).done} of {count} lines done"
            time.sleep(0.002)  # the store has no way to tell


class Running:
    """Work of a runner on a thread of its own."""

    def __init__(self, work: Callable[[], Outcome]) -> None:
        self._outcome: Outcome | BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Outcome]) -> None:
        try:
            self._outcome = work()
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self._outcome = error

    def outcome(self, timeout_seconds: float = PATIENCE_SECONDS) -> Outcome:
        """How it ended; raises what the runner raised."""
        self._thread.join(timeout_seconds)
        assert self._outcome is not None, "still running"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome
