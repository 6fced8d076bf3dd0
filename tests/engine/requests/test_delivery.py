"""The text of a finished request."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Items

from engine.request import Request, RequestOutput, Ticket
from engine.requests.delivery import Delivery
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from engine.stopping.stop_strings import TokenStream
from jobs.records.sampling import SamplingParams
from model.text.byte_level import TextStream

BYTES = {1: b"a", 2: b"b", 3: "ü".encode()[:1]}


class Letters:
    """A detokenizer of three tokens, the last of which is half a character."""

    vocab_size = 4

    def decode(self, token_ids: Items[int], skip_special_tokens: bool = True, /) -> str:
        return b"".join(BYTES[token] for token in token_ids).decode(errors="replace")

    def stream(self, skip_special_tokens: bool = True, /) -> TokenStream:
        return TextStream(BYTES.__getitem__)


def delivered(params: SamplingParams, *generated: int) -> RequestOutput:
    """What becomes of a request that generates these tokens, the last one of which ends it."""
    ticket = Ticket(Request((1,), params))
    sequence = Sequence(
        ticket, StopChecker(params, (), params.max_tokens), (True, 0, False, 0, 0), page_table=array("i")
    )
    sequence.admitted_at = 0.5
    for token in generated:
        sequence.append(token, now=1.0)
    delivery = Delivery(Letters())
    delivery.deliver(sequence, finished_at=2.0)
    delivery.close()
    return ticket.future.result(timeout=10)


def test_a_stop_token_ends_the_text_and_is_no_part_of_it() -> None:
    output = delivered(SamplingParams(max_tokens=9, stop_token_ids=(2,)), 1, 1, 2)
    assert (output.text, output.token_ids) == ("aa", (1, 1, 2))


def test_a_text_cut_off_inside_a_character_ends_before_it() -> None:
    assert delivered(SamplingParams(max_tokens=3), 1, 2, 3).text == "ab"
