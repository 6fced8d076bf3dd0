"""The text of a finished request."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence as Items

from engine.request import AnswerLogprobs, Request, RequestOutput, Ticket, TokenLogprobs
from engine.requests.answer_logprobs import before
from engine.requests.delivery import Delivery
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from engine.stopping.stop_strings import StopStringFinder, TokenStream
from engine.stopping.thought import AnswerStream, Thinking, Thought
from jobs.records.sampling import SamplingParams
from model.text.byte_level import TextStream

BYTES = {1: b"a", 2: b"b", 3: "ü".encode()[:1], 4: "ü".encode()[1:], 5: b"\n", 6: b"<think>", 7: b"</think>"}


class Letters:
    """A detokenizer of a few tokens, two of which are half a character each."""

    vocab_size = 8

    def decode(self, token_ids: Items[int], skip_special_tokens: bool = True, /) -> str:
        return b"".join(BYTES[token] for token in token_ids).decode(errors="replace")

    def stream(self, skip_special_tokens: bool = True, /) -> TokenStream:
        return TextStream(BYTES.__getitem__)

    def token_bytes(self, token_id: int, /) -> bytes:
        return BYTES[token_id]


def delivered(
    params: SamplingParams,
    *generated: int,
    logprobs: int | None = None,
    thinking: Thinking | None = None,
) -> RequestOutput:
    """What becomes of a request that generates these tokens, the last one of which ends it."""
    ticket = Ticket(Request((1,), params, logprobs=logprobs, thinking=thinking))
    thought = Thought(thinking, None, Letters().stream()) if thinking is not None else None
    text = AnswerStream(Letters().stream(), thought) if thought is not None else Letters().stream()
    finder = StopStringFinder(params.stop, text, params.include_stop_str_in_output) if params.stop else None
    checker = StopChecker(params, (), params.max_tokens, finder, thought)
    sequence = Sequence(ticket, checker, (True, 0, False, 0, 0), page_table=array("i"))
    sequence.admitted_at = 0.5
    for place, token in enumerate(generated):
        sequence.append(token, now=1.0, logprobs=TokenLogprobs(-float(place), struct.pack("<i", 2), b"\0" * 4))
    delivery = Delivery(Letters())
    delivery.deliver(sequence, finished_at=2.0)
    delivery.close()
    return ticket.future.result(timeout=10)


def test_a_stop_token_ends_the_text_and_is_no_part_of_it() -> None:
    output = delivered(SamplingParams(max_tokens=9, stop_token_ids=(2,)), 1, 1, 2)
    assert (output.text, output.token_ids) == ("aa", (1, 1, 2))


def test_a_text_cut_off_inside_a_character_ends_before_it() -> None:
    assert delivered(SamplingParams(max_tokens=3), 1, 2, 3).text == "ab"


def asked(params: SamplingParams, *generated: int, thinking: Thinking | None = None) -> AnswerLogprobs:
    """The log-probabilities of a completion of these tokens, whose i-th token has -i."""
    found = delivered(params, *generated, logprobs=1, thinking=thinking).logprobs
    assert found is not None
    assert len(found.places) == len(found.token_ids)
    return found


def values(found: AnswerLogprobs) -> list[float]:
    return [place.own for place in found.places]


def test_log_probabilities_are_given_only_to_who_asks_for_them() -> None:
    assert delivered(SamplingParams(max_tokens=2), 1, 2).logprobs is None
    found = asked(SamplingParams(max_tokens=2), 1, 1)
    assert (found.token_ids, values(found), found.ended_by_token) == ((1, 1), [0.0, -1.0], False)
    assert found.token_bytes == {1: b"a", 2: b"b"}  # with the likeliest ones


def test_a_stop_token_is_named_as_the_end() -> None:
    found = asked(SamplingParams(max_tokens=9, stop_token_ids=(2,)), 1, 2)
    assert (found.token_ids, found.ended_by_token) == ((1, 2), True)
    shown = asked(SamplingParams(max_tokens=9, stop_token_ids=(2,), include_stop_str_in_output=True), 1, 2)
    assert (shown.token_ids, shown.ended_by_token) == ((1, 2), False)


def test_log_probabilities_are_cut_with_the_text_before_a_stop_string() -> None:
    assert asked(SamplingParams(max_tokens=9, stop=("ba",)), 1, 3, 4, 2, 1).token_ids == (1, 3, 4)
    assert asked(SamplingParams(max_tokens=9, stop=("ü",)), 1, 3, 4).token_ids == (1,)
    assert asked(SamplingParams(max_tokens=9, stop=("a",)), 1).token_ids == ()
    shown = asked(SamplingParams(max_tokens=9, stop=("ba",), include_stop_str_in_output=True), 1, 2, 1)
    assert shown.token_ids == (1, 2, 1)


def test_half_a_character_at_the_end_keeps_its_log_probability() -> None:
    assert asked(SamplingParams(max_tokens=2), 1, 3).token_ids == (1, 3)


def test_the_thought_and_the_newlines_after_it_have_none() -> None:
    thinking = Thinking(6, 7, is_open=True)
    found = asked(SamplingParams(max_tokens=6), 1, 7, 5, 5, 3, 4, thinking=thinking)
    assert (found.token_ids, values(found)) == ((3, 4), [-4.0, -5.0])
    assert asked(SamplingParams(max_tokens=2), 1, 1, thinking=thinking).token_ids == ()
    cut = asked(SamplingParams(max_tokens=9, stop=("b",)), 1, 7, 5, 1, 5, 2, thinking=thinking)
    assert (cut.token_ids, values(cut)) == ((1, 5), [-3.0, -4.0])
    unthought = asked(SamplingParams(max_tokens=2), 5, 1, thinking=Thinking(6, 7, is_open=False))
    assert unthought.token_ids == (5, 1)


def test_a_part_before_a_token_has_the_places_before_it() -> None:
    found = asked(SamplingParams(max_tokens=9, stop_token_ids=(4,)), 1, 1, 2, 1, 4)
    assert (before(found, 2).token_ids, values(before(found, 2))) == ((1, 1), [0.0, -1.0])
    assert not before(found, 2).ended_by_token
    assert before(found, 3) == found
