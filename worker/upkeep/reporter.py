"""Report this worker's state to the store regularly."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from engine.request import Utilization
from jobs.errors import RecordDamaged, StoreFull, StoreUnavailable
from jobs.records.shard_stats import TimelineSample
from jobs.records.worker_report import WorkerReport, WorkerState
from jobs.stats.cache_room import CacheRoom
from jobs.stats.request_figures import RequestFigures
from jobs.stores.protocol import JobStore
from worker.facts import WorkerFacts
from worker.queue.refusals import Refusals
from worker.shards.active_shards import ActiveShards
from worker.shards.inference_engine import InferenceEngine
from worker.upkeep.cache_watch import CacheWatch
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
LIFE_SECONDS = 1.8  # time to live of a report: a dead worker is shown as lost within 2 s
LOADING_LIFE_SECONDS = 5.0  # longer while loading, when other threads of the process may be blocked for a while
SAMPLE_SECONDS = 1.0  # time between two samples of the timeline


class Reporter:
    """Publishes a `WorkerReport` twice per second, and a timeline sample per job every second, on its own thread.

    It starts before the model is loaded, and reports `loading` until the call of `loaded`.

    Args:
        store: Store for the reports.
        link: Gets the outcome of each call.
        active: The worker's active shards.
        refusals: Counter of refused messages.
        facts: Facts of the worker that are known before the model is loaded.
        figures: Returns the figures of finished requests.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        link: StoreLink,
        active: ActiveShards,
        refusals: Refusals,
        facts: WorkerFacts,
        figures: Callable[[], tuple[RequestFigures, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._link = link
        self._active = active
        self._refusals = refusals
        self._facts = facts
        self._figures = figures
        self._clock = clock
        self._engine: InferenceEngine | None = None
        self._loading_step = ""  # what the loading of the model does now
        self._throughput = Throughput()
        self._cache = CacheWatch()
        self._sampled_at = clock()
        self._thread = Periodic("reporter", self.publish, INTERVAL_SECONDS)

    def start(self) -> None:
        """Start the reports. The first one announces the worker."""
        self._thread.start()

    def loading(self, step: str) -> None:
        """Report from now on what the loading of the model does, such as "reading the weights"."""
        self._loading_step = step

    def loaded(self, facts: WorkerFacts, engine: InferenceEngine) -> None:
        """Report `idle` or `busy` from now on, because the model is loaded."""
        self._facts = facts
        self._engine = engine

    def stop(self) -> None:
        """Stop the reports, and remove the worker from the list if the store answers."""
        self._thread.stop()
        try:
            self._store.fleet.forget_worker(self._facts.worker_id)
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)

    def publish(self) -> None:
        """Publish one report, and samples if it is time. Store errors are passed to `link`; the report is lost."""
        utilization = Utilization() if self._engine is None else self._engine.utilization()
        life = LOADING_LIFE_SECONDS if self._engine is None else LIFE_SECONDS
        try:
            self._store.fleet.report_worker(self._report(utilization), life)
            if self._clock() - self._sampled_at >= SAMPLE_SECONDS:
                self._publish_timeline(utilization)
            self._link.worked()
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
        except RecordDamaged as error:
            self._store.damage.note(error)

    def _state(self, jobs: tuple[str, ...]) -> WorkerState:
        if self._active.stopping.is_set():
            return "stopping"
        if self._engine is None:
            return "loading"
        if self._active.draining.is_set():
            return "draining"
        return "busy" if jobs else "idle"

    def _room(self, utilization: Utilization, jobs: tuple[str, ...]) -> CacheRoom | None:
        """Return the cache's room if it is too little, else None. Logs a warning once per job."""
        room = self._cache.look(utilization, self._facts.kv_cache_bytes)
        for job_id in self._cache.untold(jobs) if room else ():
            log.warning("%s job=%s", room.advice if room else "", job_id)
        return room

    def _report(self, utilization: Utilization) -> WorkerReport:
        facts, jobs = self._facts, self._active.job_ids()
        room = self._room(utilization, jobs)
        return WorkerReport(
            worker_id=facts.worker_id,
            host=facts.host,
            pid=facts.pid,
            model=facts.model,
            device=facts.device,
            dtype=facts.dtype,
            quantize=facts.quantize,
            compiled=facts.compiled,
            state=self._state(jobs),
            started_at=facts.started_at,
            load_seconds=facts.load_seconds,
            compile_seconds=facts.compile_seconds,
            output_throughput=self._throughput.per_second(self._clock(), utilization.output_tokens),
            running=utilization.running,
            waiting=utilization.waiting,
            kv_cache_usage=utilization.kv_cache_usage,
            peak_memory_bytes=facts.peak_memory_bytes(),
            output_tokens=utilization.output_tokens,
            jobs=jobs,
            held_back=round(room.waiting) if room else 0,
            kv_cache_bytes_wanted=room.wanted_bytes if room else 0,
            refused_messages=self._refusals.count,
            prompt_tokens=utilization.prompt_tokens,
            cached_tokens=utilization.cached_tokens,
            preemptions=utilization.preemptions,
            requests=self._figures(),
            loading_step=self._loading_step if self._engine is None else "",
        )

    def _publish_timeline(self, utilization: Utilization) -> None:
        now = self._clock()
        seconds, self._sampled_at = now - self._sampled_at, now
        work = self._active.take_work()
        all_lines = sum(job.lines for job in work.values())
        for job_id, job in work.items():
            sample = TimelineSample(
                at=time.time(),
                worker_id=self._facts.worker_id,
                output_throughput=job.output_tokens / seconds if seconds > 0 else 0.0,
                # The batch does not know its jobs, so their shares of it are estimated from their lines.
                running=round(utilization.running * job.lines / all_lines) if all_lines else 0,
                kv_cache_usage=utilization.kv_cache_usage,
            )
            self._store.fleet.add_timeline(job_id, sample)


class Throughput:
    """Rate over the last few seconds of a counter that only grows.

    Args:
        window_seconds: Length of the window.
    """

    def __init__(self, window_seconds: float = 5.0) -> None:
        self._window = window_seconds
        self._readings: deque[tuple[float, int]] = deque()

    def per_second(self, now: float, total: int) -> float:
        """Add a reading, and return the mean rate over the window in tokens per second. 0 for the first reading.

        Args:
            now: Monotonic seconds.
            total: Value of the counter.
        """
        self._readings.append((now, total))
        while len(self._readings) > 2 and now - self._readings[1][0] >= self._window:
            self._readings.popleft()
        first_at, first_total = self._readings[0]
        return (total - first_total) / (now - first_at) if now > first_at else 0.0
