"""Short steps: decode steps of small flows without the rest of a full batch."""

from __future__ import annotations

from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class ShortSteps:
    """Limits the delay of a small flow that shares a batch with large flows.

    With a small model or on a CPU, a step's time grows with its number of sequences. In a full batch, each token of a
    small flow would then wait for the arithmetic of the other flows. Therefore every second step may be a short step,
    which holds only the small flows. A measurement decides if short steps help: a short step is tried whenever small
    flows have arrived.

    Args:
        policy: Limits and thresholds. A short step has at most `policy.newcomer_places` sequences.
    """

    def __init__(self, policy: SchedulingPolicy) -> None:
        self._policy = policy
        self._whole_seconds = 0.0  # duration of the latest decode step of all sequences
        self._short_seconds: float | None = None  # shortest duration since small flows came; None until measured
        self._latest_was_short = False

    def choose(self, decoding: SequenceQueue, waiting: SequenceQueue) -> list[Sequence]:
        """Return the sequences of a short step, or an empty list if the next step is for all sequences."""
        flows = self._small_flows(decoding, waiting)
        if not flows:
            self._short_seconds = None
            return []
        worthwhile = self._policy.short_step_is_worthwhile(self._whole_seconds, self._short_seconds)
        if self._latest_was_short or not worthwhile:
            return []
        return [sequence for sequence in decoding if sequence.flow in flows]

    def note(self, num_sequences: int, num_decoding: int, seconds: float) -> None:
        """Record the duration of a decode step of `num_sequences` out of `num_decoding` decoding sequences."""
        self._latest_was_short = num_sequences < num_decoding
        if self._latest_was_short:
            known = self._short_seconds
            # Keep the minimum: one slow outlier would end short steps for good, because none would be measured again.
            self._short_seconds = seconds if known is None else min(known, seconds)
        else:
            self._whole_seconds = seconds

    def _small_flows(self, decoding: SequenceQueue, waiting: SequenceQueue) -> set[str]:
        """Return the flows that fit in a short step, chosen from the smallest up.

        A small flow has few decoding sequences and no waiting ones. Urgent flows are small, and are chosen first.
        Returns an empty set if no large flow is decoding.
        """
        if len(decoding.flows) < 2:
            return set()
        left = self._policy.newcomer_places
        urgent = {decoding[place].flow for place in range(decoding.num_urgent)}
        small = [
            flow
            for flow, count in decoding.flows.items()
            if count <= left and (flow in urgent or flow not in waiting.flows)
        ]
        if len(small) == len(decoding.flows):
            return set()
        chosen: set[str] = set()
        for flow in sorted(small, key=lambda name: (name not in urgent, decoding.flows[name])):
            left -= decoding.flows[flow]
            if left >= 0:
                chosen.add(flow)
        return chosen
