"""Lines that are added to a job that is there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import JobNotFound
from jobs.keys import JobKeys
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.packing import pack_prompts
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.server import RedisServer, Word
from jobs.stores.rules import extended, not_extensible


class Extension:
    """One script adds all lines, so that no reader and no crash finds half of them."""

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        keys = JobKeys(spec.id)
        new = extended(spec, shards)
        refs = [ShardRef(spec.id, spec.num_shards + index) for index in range(len(shards))]
        names = [keys.meta, keys.open]
        args: list[Word] = [spec.num_lines, msgspec.json.encode(new)]
        for ref, prompts in zip(refs, shards, strict=True):
            names += [keys.shard(ref.index), keys.input(ref.index)]
            args += [ref.index, len(prompts), pack_prompts(prompts)]
        self._index.add(spec)
        reply = self._server.script("extend", names, *args)
        self._index.add(spec)
        if reply == "missing":
            raise JobNotFound(spec.id)
        if reply != "ok":
            raise not_extensible(spec.id, reply)
        self._index.announce(spec)
        return refs
