"""When sequences of small flows take a decode step by themselves beside a full batch."""

from __future__ import annotations

from engine.scheduling import policy
from engine.scheduling.sequence import Sequence
from engine.scheduling.sequence_queue import SequenceQueue


class ShortSteps:
    """Bounds how much longer a small flow takes because it shares its steps with large ones.

    Where a step's time grows with its sequences (a small model, a CPU), a small flow in a full batch would wait for the
    others' arithmetic at every token. Then every second step is a short one, of the small flows alone. Whether it
    would help is measured: one short step is tried whenever small flows have come.

    Args:
        max_num_seqs: Sequences of a batch.
    """

    def __init__(self, max_num_seqs: int) -> None:
        self._most = policy.newcomer_places(max_num_seqs)
        self._whole_seconds = 0.0  # of the latest decode step of all sequences
        self._short_seconds: float | None = None  # of the quickest short one since small flows came; None: to be tried
        self._latest_was_short = False

    def choose(self, decoding: SequenceQueue, waiting: SequenceQueue) -> list[Sequence]:
        """The sequences of a short step; empty when the next step is one of all."""
        flows = self._small_flows(decoding, waiting)
        if not flows:
            self._short_seconds = None
            return []
        if self._latest_was_short or not policy.short_step_is_worthwhile(self._whole_seconds, self._short_seconds):
            return []
        return [sequence for sequence in decoding if sequence.flow in flows]

    def note(self, num_sequences: int, num_decoding: int, seconds: float) -> None:
        """Learn from a decode step of so many of the sequences that are decoding."""
        self._latest_was_short = num_sequences < num_decoding
        if self._latest_was_short:
            known = self._short_seconds
            # The quickest: one step that the machine held up must not end them for good, since no other would follow.
            self._short_seconds = seconds if known is None else min(known, seconds)
        else:
            self._whole_seconds = seconds

    def _small_flows(self, decoding: SequenceQueue, waiting: SequenceQueue) -> set[str]:
        """Flows of a few sequences with nothing that waits, the smallest first; none unless there are large ones."""
        if len(decoding.flows) < 2:
            return set()
        small = [flow for flow, count in decoding.flows.items() if count <= self._most and flow not in waiting.flows]
        if len(small) == len(decoding.flows):
            return set()
        chosen: set[str] = set()
        left = self._most
        for flow in sorted(small, key=lambda name: decoding.flows[name]):
            left -= decoding.flows[flow]
            if left >= 0:
                chosen.add(flow)
        return chosen
