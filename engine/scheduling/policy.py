"""The scheduling rules: order of sequences, admission, and when a prefill may interrupt decoding."""

from __future__ import annotations

from engine.scheduling.page_allocator import PageAllocator
from jobs.records.sampling import SamplingParams

WORTHWHILE_PREFILL_TOKENS = 128  # from this size on, arithmetic dominates a product's time (measured on a CPU)
MIXED_PROMPT_TOKENS = 256  # maximum prompt tokens in a mixed step: half a second on a slow CPU
WORTHWHILE_FREE_SHARE = 8  # if 1/8 of the batch is free, that costs more than interrupting the decoding
WORTHWHILE_SHORT_STEP = 2  # short steps pay if a step of all sequences takes more than twice as long
NEWCOMER_SHARE = 4  # newcomers may exceed the usual batch size by at most 1/4


Priority = tuple[int, bool, int, int]


def priority(turn: int, number: int, params: SamplingParams, max_new_tokens: int) -> Priority:
    """Return a sequence's sort key. Admission starts with the smallest key, pre-emption with the largest.

    Turns are served in order, so no flow starves (`engine.scheduling.fair_queue`). Within a turn, sequences of unknown
    length come first, in order of arrival. Sequences of known length follow, the longest first: a long sequence that
    starts last would run alone in an almost empty batch. Source: Graham's longest-processing-time rule, 1969.

    Args:
        turn: The turn in which the request's flow is served.
        number: Serial number of the request, which makes keys unique.
        params: The request's settings.
        max_new_tokens: Maximum length of the completion.
    """
    length_is_known = params.ignore_eos and not params.stop and not params.stop_token_ids
    return (turn, length_is_known, -max_new_tokens if length_is_known else 0, number)


def newcomer_places(max_num_seqs: int) -> int:
    """Return how many sequences of newcomers may run beyond `max_num_seqs`.

    A newcomer is a flow with no running sequence. In a full batch of long completions a place becomes free only after
    many steps. A small job does not have to wait for one. The price: each step takes a little longer, and other flows
    enter again only when the batch is back at its usual size.
    """
    return max_num_seqs // NEWCOMER_SHARE


def max_running(max_num_seqs: int) -> int:
    """Return the maximum number of sequences in a batch, including newcomers."""
    return max_num_seqs + newcomer_places(max_num_seqs)


def may_enter(page_allocator: PageAllocator, num_tokens: int, num_reserved: int, num_running: int) -> bool:
    """Return True if enough pages are free for a sequence of `num_tokens` known tokens.

    One extra page per running sequence must stay free. Otherwise the new sequence might be pre-empted a few steps
    later.

    Args:
        page_allocator: Allocates the cache's pages.
        num_tokens: Tokens of the sequence's prompt and of its completion so far.
        num_reserved: Pages promised to other sequences that enter in this step.
        num_running: Sequences that already run or enter before this one.
    """
    return page_allocator.num_free - num_reserved - num_running >= page_allocator.pages_for(num_tokens)


def prefill_is_worthwhile(num_tokens: int, num_running: int, max_num_seqs: int) -> bool:
    """Return True if `num_tokens` prompt tokens justify an interruption of decoding.

    Every step reads all weights, whatever it computes. A few short prompts therefore wait until enough of them can
    share one step. They do not wait while much of the batch is empty.
    """
    free = max_num_seqs - num_running
    return num_tokens >= WORTHWHILE_PREFILL_TOKENS or num_running == 0 or free * WORTHWHILE_FREE_SHARE >= max_num_seqs


def short_step_is_worthwhile(whole_seconds: float, short_seconds: float | None) -> bool:
    """Return True if small flows should take every second decode step without the others.

    Let a whole step take w seconds and a short step s seconds. With short steps, a token of a small flow takes
    (w + s) / 2 instead of w. Up to w = 5 s, that is at most three times the s that it would take alone. A token of
    the other flows takes s longer.

    Args:
        whole_seconds: Duration of a step of all sequences.
        short_seconds: Duration of a step of the small flows; None until one has been measured.
    """
    return short_seconds is None or whole_seconds > WORTHWHILE_SHORT_STEP * short_seconds
