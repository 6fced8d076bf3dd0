"""Engine time and tokens, kept a group."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from engine.request import EngineLoad, GroupStats
from engine.scheduling.batch import Batch


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

    def add(self, batch: Batch, seconds: float, load: EngineLoad) -> None:
        """Book a step; its time is divided by sequences, its other figures are whole.

        Args:
            batch: What ran.
            seconds: How long it took.
            load: Of the engine when the step began.
        """
        size = len(batch.sequences)
        members = Counter(sequence.ticket.request.group for sequence in batch.sequences)
        sampled = Counter(batch.sequences[index].ticket.request.group for index in batch.sampling)
        decoding = batch.num_decodes > 0
        short = decoding and load.held_back > 0
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
                    kv_cache_usage_peak=max(old.kv_cache_usage_peak, load.kv_cache_usage),
                    output_tokens=old.output_tokens + sampled[group],
                    cache_short_steps=old.cache_short_steps + short,
                    cache_short_running_sum=old.cache_short_running_sum + short * load.running,
                    cache_short_waiting_sum=old.cache_short_waiting_sum + short * load.held_back,
                    cache_wanted_peak=max(old.cache_wanted_peak, short * load.cache_wanted),
                )

    def take(self, group: str) -> GroupStats:
        """What the group has used since it was last asked for; it begins at zero again."""
        with self._lock:
            return self._stats.pop(group, GroupStats())
