"""Find completions of earlier jobs for the lines of a new job."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from jobs.errors import JobNotFound
from jobs.records.completion import Completion
from jobs.records.job import Job, JobState, ShardRef
from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from jobs.submission.line_key import LineKeys

JOBS_LOOKED_AT = 1000  # max jobs to search, newest first
SHARDS_KEPT = 8  # shards in the cache; an edited file mostly keeps its order, so the next line is in the same shard

Place = tuple[str, int, int]  # job, shard, position in the shard


@dataclass(frozen=True)
class ReuseCounts:
    """Reused lines with quantised weights, and lines that are not reused because of their weights."""

    quantized: int = 0  # reused completions of quantised weights, if the workers' weights are unknown or mixed
    passed_over: int = 0  # lines that have only completions of other weights than the live workers', so they run again


class EarlierLines:
    """Maps the keys of a new job's lines to completions of earlier jobs of the same model.

    It keeps the completions' places, not their texts: about 200 bytes per line.

    A completion of other weights than those of the model's live workers is passed over: 8-bit weights give other texts.
    If no worker is alive, completions of all weights count. A completion of another tier of kernels always counts.

    Args:
        store: Store of the earlier jobs.
        model: The served model's name. Another revision under the same name counts as the same model.
        card_defaults: The model's own settings. They apply where neither a line nor its job sets a value.
        project: Search only the jobs of this project. None to search all jobs.
    """

    def __init__(
        self, store: JobStore, model: str, card_defaults: SamplingSettings, project: str | None = None
    ) -> None:
        self._store = store
        self._model = model
        self._project = project
        self._card_defaults = card_defaults
        self._weights = {worker.quantize for worker in store.fleet.workers() if worker.model == model}
        self._places: dict[bytes, Place | None] = {}
        self._passed_over: set[bytes] = set()  # keys with completions of other weights only
        self._counts = ReuseCounts()
        self._shards: OrderedDict[ShardRef, list[tuple[Prompt, Completion | None]]] = OrderedDict()

    def keys(self, defaults: SamplingSettings, seed: int, line_defaults: LineDefaults = NO_LINE_DEFAULTS) -> LineKeys:
        """Return the key maker for a job with these defaults and this seed."""
        return LineKeys(defaults.over(self._card_defaults), seed, line_defaults)

    def look_for(self, keys: Iterable[bytes | None]) -> None:
        """Search the earlier jobs, newest first, until every key has a place or no job is left."""
        self._places = dict.fromkeys(key for key in keys if key is not None)
        missing = len(self._places)
        for job in self._store.jobs.newest(JOBS_LOOKED_AT):
            if missing and self._is_usable(job):
                line_keys = self.keys(job.spec.defaults, job.spec.seed, job.spec.line_defaults)
                for index in range(job.spec.num_shards):
                    missing -= self._note(ShardRef(job.id, index), line_keys)

    def _is_usable(self, job: Job) -> bool:
        is_ours = self._project is None or job.spec.project == self._project
        is_stored = job.state is not JobState.VALIDATING
        return is_ours and is_stored and job.spec.model == self._model and job.completed > 0

    def completion(self, key: bytes | None, prompt: Prompt) -> Completion | None:
        """Return the completion of a line from an earlier job, or None. Its latency is left out."""
        place = self._places.get(key) if key is not None else None
        if place is None:
            self._count(passed_over=key in self._passed_over)
            return None
        job_id, index, position = place
        lines = self._lines(ShardRef(job_id, index))
        found = lines[position][1] if position < len(lines) else None
        if found is None:
            return None
        self._count(quantized=found.quantize != "none" and len(self._weights) != 1)
        return msgspec.structs.replace(found, index=prompt.index, id=prompt.id, endpoint=prompt.endpoint, latency=None)

    @property
    def counts(self) -> ReuseCounts:
        """Counts over the lines for which `completion` was called."""
        return self._counts

    def _count(self, quantized: bool = False, passed_over: bool = False) -> None:
        known = self._counts
        self._counts = ReuseCounts(known.quantized + quantized, known.passed_over + passed_over)

    def _note(self, shard: ShardRef, line_keys: LineKeys) -> int:
        """Store the places of a shard's lines. Returns the number of keys that got a place."""
        found = 0
        for position, (prompt, completion) in enumerate(self._lines(shard)):
            key = line_keys.key(prompt)
            usable = completion is not None and completion.error is None
            if key is None or not usable or self._places.get(key, ()) is not None:
                continue
            if self._weights and completion is not None and completion.quantize not in self._weights:
                self._passed_over.add(key)
                continue
            self._passed_over.discard(key)
            self._places[key] = (shard.job_id, shard.index, position)
            found += 1
        return found

    def _lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        if shard in self._shards:
            self._shards.move_to_end(shard)
            return self._shards[shard]
        lines: list[tuple[Prompt, Completion | None]] = []
        with suppress(JobNotFound), self._store.damage.skipping():  # deleted or damaged: these lines run again
            lines = self._store.jobs.lines(shard)
        self._shards[shard] = lines
        if len(self._shards) > SHARDS_KEPT:
            self._shards.popitem(last=False)
        return lines
