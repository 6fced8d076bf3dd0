"""The scheduling rules: order of sequences, size of a batch, and when a prefill may interrupt decoding."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.records.sampling import SamplingParams

Priority = tuple[bool, int, bool, int, int]


def priority(turn: int, number: int, params: SamplingParams, max_new_tokens: int, *, urgent: bool = False) -> Priority:
    """Return a sequence's sort key. Admission starts with the smallest key, pre-emption with the largest.

    Urgent sequences come before all others, and take no turns: they come in order of arrival. The turns of the others
    are served in order, so no flow starves (`engine.scheduling.fair_queue`). Within a turn, sequences of unknown
    length come first, in order of arrival. Sequences of known length follow, the longest first: a long sequence that
    starts last would run alone in an almost empty batch. Source: Graham's longest-processing-time rule, 1969.

    Args:
        turn: The turn in which the request's flow is served.
        number: Serial number of the request, which makes keys unique.
        params: The request's settings.
        max_new_tokens: Maximum length of the completion.
        urgent: True if other requests give way to this one.
    """
    if urgent:
        return (False, 0, False, 0, number)
    length_is_known = params.ignore_eos and not params.stop and not params.stop_token_ids
    return (True, turn, length_is_known, -max_new_tokens if length_is_known else 0, number)


@dataclass(frozen=True)
class SchedulingPolicy:
    """The limits of a batch and the thresholds of the scheduling rules.

    Raises:
        ValueError: A limit is below 1.
    """

    max_num_seqs: int  # sequences of a batch, without newcomers
    max_batched_tokens: int  # prompt tokens of a prefill step
    max_mixed_tokens: int = 256  # prompt tokens of a mixed step: half a second on a slow CPU
    min_prefill_tokens: int = 128  # from this size on, arithmetic dominates a product's time (measured on a CPU)
    min_free_share: float = 1 / 8  # if this share of the batch is free, that costs more than interrupting the decoding
    newcomer_share: float = 1 / 4  # newcomers may exceed `max_num_seqs` by at most this share
    urgent_share: float = 3 / 4  # while others wait or run, urgent sequences have at most this share of a batch
    max_urgent_prefills: int = 3  # after so many steps with urgent prompts alone, a step belongs to the others
    max_page_losses: int = 3  # a line that lost its pages so often beside urgent sequences keeps them from then on
    prefix_caching: bool = True  # prompts that begin alike share the pages of their beginning
    min_copied_tokens: int = 16  # equal tokens from which on a page is copied; the number is not tuned by measurement
    min_short_step_gain: float = 2.0  # short steps pay if a step of all sequences takes more than this times as long

    def __post_init__(self) -> None:
        if min(self.max_num_seqs, self.max_batched_tokens, self.max_mixed_tokens) < 1:
            raise ValueError(f"every limit must be at least 1: {self}")

    @property
    def newcomer_places(self) -> int:
        """Number of sequences of newcomers that may run beyond `max_num_seqs`.

        A newcomer is a flow with no running sequence. In a full batch of long completions a place becomes free only
        after many steps. A small job does not have to wait for one. The price: each step takes a little longer, and
        other flows enter again only when the batch is back at its usual size.
        """
        return int(self.max_num_seqs * self.newcomer_share)

    @property
    def max_running(self) -> int:
        """Maximum number of sequences in a batch, including newcomers.

        A batch of one place has a second one, for the line that runs beside an urgent sequence.
        """
        return max(self.max_num_seqs + self.newcomer_places, self.urgent_places + self.ordinary_places)

    @property
    def urgent_places(self) -> int:
        """Maximum number of urgent sequences that run while the engine has other sequences, too."""
        return max(1, int(self.max_num_seqs * self.urgent_share))

    @property
    def ordinary_places(self) -> int:
        """Number of sequences that urgent ones never displace from a batch. At least one, so that no line starves."""
        return max(1, self.max_num_seqs - self.urgent_places)

    def prefill_is_worthwhile(self, num_tokens: int, num_running: int) -> bool:
        """Return True if `num_tokens` prompt tokens justify an interruption of decoding.

        Every step reads all weights, whatever it computes. A few short prompts therefore wait until enough of them can
        share one step. They do not wait while much of the batch is empty.
        """
        free = self.max_num_seqs - num_running
        return (
            num_tokens >= self.min_prefill_tokens or num_running == 0 or free >= self.max_num_seqs * self.min_free_share
        )

    def short_step_is_worthwhile(self, whole_seconds: float, short_seconds: float | None) -> bool:
        """Return True if small flows should take every second decode step without the others.

        Let a whole step take w seconds and a short step s seconds. With short steps, a token of a small flow takes
        (w + s) / 2 instead of w. Up to w = 5 s, that is at most three times the s that it would take alone. A token of
        the other flows takes s longer.

        Args:
            whole_seconds: Duration of a step of all sequences.
            short_seconds: Duration of a step of the small flows; None until one has been measured.
        """
        return short_seconds is None or whole_seconds > self.min_short_step_gain * short_seconds
