"""Completions of earlier jobs that can serve for the lines of a new one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from jobs.errors import JobNotFound
from jobs.records.completion import Completion
from jobs.records.job import JobState, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from jobs.submission.line_key import LineKeys

JOBS_LOOKED_AT = 1000  # the newest ones of the store
SHARDS_KEPT = 8  # files that were edited are in their old order: the next line is mostly in the same shard

Place = tuple[str, int, int]  # job, shard, position in the shard


class EarlierLines:
    """Finds, for the keys of a new job's lines, where an earlier job of the same model has their completions.

    It keeps places, not texts: some 200 bytes a line.

    Args:
        store: Where the earlier jobs are.
        model: The served model's name; another revision under the same name counts as the same.
        card_defaults: The model's own settings, for what neither a line nor its job says.
    """

    def __init__(self, store: JobStore, model: str, card_defaults: SamplingSettings) -> None:
        self._store = store
        self._model = model
        self._card_defaults = card_defaults
        self._places: dict[bytes, Place | None] = {}
        self._shards: OrderedDict[ShardRef, list[tuple[Prompt, Completion | None]]] = OrderedDict()

    def keys(self, defaults: SamplingSettings, seed: int) -> LineKeys:
        """Keys of the lines of a job with these defaults and this seed."""
        return LineKeys(defaults.over(self._card_defaults), seed)

    def look_for(self, keys: Iterable[bytes | None]) -> None:
        """Go through the earlier jobs, the newest first, until every key has a place or there are no more."""
        self._places = dict.fromkeys(key for key in keys if key is not None)
        missing = len(self._places)
        for job in self._store.jobs(JOBS_LOOKED_AT):
            if missing and job.spec.model == self._model and job.completed and job.state is not JobState.VALIDATING:
                line_keys = self.keys(job.spec.defaults, job.spec.seed)
                for index in range(job.spec.num_shards):
                    missing -= self._note(ShardRef(job.id, index), line_keys)

    def completion(self, key: bytes | None, prompt: Prompt) -> Completion | None:
        """The completion of a line, if an earlier job has it; its times were another job's."""
        place = self._places.get(key) if key is not None else None
        if place is None:
            return None
        job_id, index, position = place
        lines = self._lines(ShardRef(job_id, index))
        found = lines[position][1] if position < len(lines) else None
        if found is None:
            return None
        return msgspec.structs.replace(found, index=prompt.index, id=prompt.id, endpoint=prompt.endpoint, latency=None)

    def _note(self, shard: ShardRef, line_keys: LineKeys) -> int:
        """Note the places of a shard's lines; returns how many were looked for."""
        found = 0
        for position, (prompt, completion) in enumerate(self._lines(shard)):
            key = line_keys.key(prompt)
            usable = completion is not None and completion.error is None
            if key is not None and usable and self._places.get(key, ()) is None:
                self._places[key] = (shard.job_id, shard.index, position)
                found += 1
        return found

    def _lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        if shard in self._shards:
            self._shards.move_to_end(shard)
            return self._shards[shard]
        lines: list[tuple[Prompt, Completion | None]] = []
        with suppress(JobNotFound), self._store.damage().skipping():  # deleted meanwhile, or damaged: run them again
            lines = self._store.lines(shard)
        self._shards[shard] = lines
        if len(self._shards) > SHARDS_KEPT:
            self._shards.popitem(last=False)
        return lines
