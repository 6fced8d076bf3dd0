"""The scheduler's choices in one place: who comes first, who is let in, when a prefill may interrupt decoding."""

from __future__ import annotations

from engine.scheduling.block_manager import BlockManager
from jobs.records.sampling import SamplingParams

WORTHWHILE_PREFILL_TOKENS = 128  # from here on a matrix product costs about as much as its arithmetic (measured on CPU)
MIXED_PROMPT_TOKENS = 256  # of a step that decodes, too: half a second on a slow CPU
WORTHWHILE_FREE_SHARE = 8  # an eighth of the batch standing empty costs more than an interruption
WORTHWHILE_SHORT_STEP = 2  # so many times as long must a step of all be as one of the small flows alone
NEWCOMER_SHARE = 4  # the batch grows by a quarter at the most for flows that have just come


Priority = tuple[int, bool, int, int]


def priority(turn: int, number: int, params: SamplingParams, max_new_tokens: int) -> Priority:
    """The sort key that orders admission; pre-emption takes the last of it first.

    Turns are served in their order, so nobody starves (`engine.scheduling.fair_turns`). Inside a turn, sequences of
    known length go longest first: a long one that starts last would run on alone while the rest of the batch stands
    empty (Graham's longest-processing-time rule, 1969). Sequences of unknown length go before them, in their order.

    Args:
        turn: When the request's flow is served.
        number: Counts requests, so that keys are unique.
        params: The request's settings.
        max_new_tokens: Its longest possible completion.
    """
    length_is_known = params.ignore_eos and not params.stop and not params.stop_token_ids
    return (turn, length_is_known, -max_new_tokens if length_is_known else 0, number)


def newcomer_places(max_num_seqs: int) -> int:
    """How many sequences beyond `max_num_seqs` may run, of flows of which nothing ran before.

    A full batch of long completions frees a place after many steps; a small job need not wait for that. It makes
    every step a little longer, and the others enter again when the batch is back at its usual size.
    """
    return max_num_seqs // NEWCOMER_SHARE


def most_running(max_num_seqs: int) -> int:
    """The sequences of the largest batch, newcomers among them."""
    return max_num_seqs + newcomer_places(max_num_seqs)


def may_enter(blocks: BlockManager, num_tokens: int, num_reserved: int, num_running: int) -> bool:
    """Whether there are pages for a sequence of `num_tokens` known tokens.

    One page more for every running sequence must be left: whoever is let in should not be pre-empted a few steps later.

    Args:
        blocks: The cache's pages.
        num_tokens: The sequence's prompt and what it had generated.
        num_reserved: Pages promised to others that enter in this step.
        num_running: Sequences that run or enter before it.
    """
    return blocks.num_free - num_reserved - num_running >= blocks.pages_for(num_tokens)


def prefill_is_worthwhile(num_tokens: int, num_running: int, max_num_seqs: int) -> bool:
    """Whether to interrupt decoding for `num_tokens` prompt tokens.

    A step reads all weights whatever it computes, so a few short prompts wait until enough of them can share one, but
    never while much of the batch stands empty.
    """
    free = max_num_seqs - num_running
    return num_tokens >= WORTHWHILE_PREFILL_TOKENS or num_running == 0 or free * WORTHWHILE_FREE_SHARE >= max_num_seqs


def short_step_is_worthwhile(whole_seconds: float, short_seconds: float | None) -> bool:
    """Whether small flows take every second decode step by themselves.

    With w and s seconds for a whole and a short step a token takes them (w + s) / 2 instead of w, so up to w = 5 s they
    stay within three times the time that they would take alone. The others pay s a token.

    Args:
        whole_seconds: Of a step of all sequences.
        short_seconds: Of a step of the small flows; None: it is not known yet, which one step will change.
    """
    return short_seconds is None or whole_seconds > WORTHWHILE_SHORT_STEP * short_seconds
