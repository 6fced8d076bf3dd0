"""Engine time and tokens per group."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Self

from engine.request import GroupStats, Utilization
from engine.scheduling.batch import Batch


@dataclass(frozen=True)
class _TokensOf:
    """Tokens of a step per group."""

    decoded: Counter[str]  # tokens that went to the decode kernel
    new: Counter[str]  # tokens that the step appended to sequences
    drafted: Counter[str]
    accepted: Counter[str]  # drafted tokens that were right

    @classmethod
    def batch(cls, batch: Batch) -> Self:
        """Count the tokens of a step that has been run and whose tokens have been appended."""
        found = cls(Counter(), Counter(), Counter(), Counter())
        for sequence, count in zip(batch.sequences[: batch.num_decodes], batch.num_tokens, strict=False):
            found.decoded[sequence.ticket.request.group] += count
        for index, count in Counter(batch.sampling).items():
            sequence = batch.sequences[index]
            group = sequence.ticket.request.group
            found.new[group] += sequence.num_new
            if sequence.ticket.request.scoring is None:  # tokens of a scored text are not guessed
                found.drafted[group] += count - 1
                found.accepted[group] += sequence.num_right
        return found


class GroupMeter:
    """Adds up the time and tokens of steps for each group. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats: defaultdict[str, GroupStats] = defaultdict(GroupStats)
        self._output_tokens = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._drafted_tokens = 0
        self._accepted_tokens = 0

    @property
    def output_tokens(self) -> int:
        """Number of new tokens of all groups since the start."""
        return self._output_tokens

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of completed prompts since the start."""
        return self._prompt_tokens

    @property
    def cached_tokens(self) -> int:
        """Number of those prompt tokens that were in the prefix cache."""
        return self._cached_tokens

    @property
    def drafted_tokens(self) -> int:
        """Number of guessed tokens that were verified since the start."""
        return self._drafted_tokens

    @property
    def accepted_tokens(self) -> int:
        """Number of guessed tokens that were right since the start."""
        return self._accepted_tokens

    def add(self, batch: Batch, seconds: float, utilization: Utilization) -> None:
        """Add a step to the statistics of its groups.

        The groups share the step's time in proportion to their sequences. Every group counts the whole step in its
        number of steps, batch size and cache figures.

        Args:
            batch: The batch that ran. The scheduler has appended its tokens (`Scheduler.advance`).
            seconds: Duration of the step.
            utilization: The engine's utilization when the step began.
        """
        size = len(batch.sequences)
        members = Counter(sequence.ticket.request.group for sequence in batch.sequences)
        tokens = _TokensOf.batch(batch)
        completed = [batch.sequences[index] for index in batch.sampling if index >= batch.num_decodes]  # their prompts
        cached: Counter[str] = Counter()
        for sequence in completed:
            cached[sequence.ticket.request.group] += sequence.num_cached
        decoding = batch.num_decodes > 0
        short = decoding and utilization.held_back > 0
        decode_share = batch.num_decode_rows / sum(batch.num_tokens)  # prefill and decode tokens take about equal time
        with self._lock:
            self._output_tokens += tokens.new.total()
            self._prompt_tokens += sum(sequence.num_prompt_tokens for sequence in completed)
            self._cached_tokens += sum(cached.values())
            self._drafted_tokens += tokens.drafted.total()
            self._accepted_tokens += tokens.accepted.total()
            for group, count in members.items():
                old = self._stats[group]
                share = seconds * count / size
                self._stats[group] = GroupStats(
                    prefill_seconds=old.prefill_seconds + share * (1 - decode_share),
                    decode_seconds=old.decode_seconds + share * decode_share,
                    decode_steps=old.decode_steps + decoding,
                    decode_batch_sum=old.decode_batch_sum + batch.num_decodes,
                    kv_cache_usage_peak=max(old.kv_cache_usage_peak, utilization.kv_cache_usage),
                    decode_tokens=old.decode_tokens + tokens.decoded[group],
                    output_tokens=old.output_tokens + tokens.new[group],
                    drafted_tokens=old.drafted_tokens + tokens.drafted[group],
                    accepted_tokens=old.accepted_tokens + tokens.accepted[group],
                    cached_tokens=old.cached_tokens + cached[group],
                    cache_short_steps=old.cache_short_steps + short,
                    cache_short_running_sum=old.cache_short_running_sum + short * utilization.running,
                    cache_short_waiting_sum=old.cache_short_waiting_sum + short * utilization.held_back,
                    cache_wanted_peak=max(old.cache_wanted_peak, short * utilization.cache_wanted),
                )

    def take(self, group: str) -> GroupStats:
        """Return the group's statistics since the last call for it, and reset them to zero."""
        with self._lock:
            return self._stats.pop(group, GroupStats())
