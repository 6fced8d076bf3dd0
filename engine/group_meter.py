"""Engine time and tokens, kept a group."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from engine.batch import Batch
from engine.request import GroupStats


class GroupMeter:
    """Adds up every step for the groups that had sequences in it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats: defaultdict[str, GroupStats] = defaultdict(GroupStats)
        self._output_tokens = 0

    @property
    def output_tokens(self) -> int:
        """New tokens of all groups since the start."""
        return self._output_tokens

    def add(self, batch: Batch, seconds: float, kv_cache_usage: float) -> None:
        """Book a step that took `seconds`; its time is divided by sequences, its other figures are whole."""
        size = len(batch.sequences)
        members = Counter(sequence.ticket.request.group for sequence in batch.sequences)
        sampled = Counter(batch.sequences[index].ticket.request.group for index in batch.sampling)
        decoding = batch.num_decodes > 0
        decode_share = batch.num_decodes / sum(batch.num_tokens)  # a token of either kind takes about as long
        with self._lock:
            self._output_tokens += len(batch.sampling)
            for group, count in members.items():
                old = self._stats[group]
                share = seconds * count / size
                self._stats[group] = GroupStats(
                    prefill_seconds=old.prefill_seconds + share * (1 - decode_share),
                    decode_seconds=old.decode_seconds + share * decode_share,
                    decode_steps=old.decode_steps + decoding,
                    decode_batch_sum=old.decode_batch_sum + batch.num_decodes,
                    kv_cache_usage_peak=max(old.kv_cache_usage_peak, kv_cache_usage),
                    output_tokens=old.output_tokens + sampled[group],
                )

    def take(self, group: str) -> GroupStats:
        """What the group has used since it was last asked for; it begins at zero again."""
        with self._lock:
            return self._stats.pop(group, GroupStats())
