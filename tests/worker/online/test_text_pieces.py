"""Pieces of text are always the beginning of the final text, and come as soon as they are certain."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.request import Request, RequestOutput, Ticket
from engine.requests.delivery import Delivery
from engine.requests.intake import Intake
from engine.stopping.thought import Thinking
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import EOS, ByteTokenizer
from worker.online.text_pieces import TextPieces

START, END, CALL = 258, 259, 256
E_ACUTE = tuple("é".encode())
TOKENS = [*b"ab\n", *E_ACUTE, START, END, EOS]
THOUGHTS = [None, Thinking(START, END, is_open=True), Thinking(START, END, is_open=False)]


def pieces_of(request: Request, tokens: list[int], call_start_id: int | None = None) -> list[tuple[str, str]]:
    pieces = TextPieces(request, ByteTokenizer(), {EOS}, call_start_id)
    return [(kind, text) for token in tokens for kind, text in pieces.push(token)]


def joined(pieces: list[tuple[str, str]], kind: str) -> str:
    return "".join(text for of, text in pieces if of == kind)


def request_of(thinking: Thinking | None = None, **settings: Any) -> Request:
    return Request((1,), SamplingParams(max_tokens=30, **settings), thinking=thinking)


def computed(request: Request, tokens: list[int]) -> tuple[list[int], RequestOutput]:
    """The tokens up to the one that ends the completion, and its output."""
    ticket = Ticket(request)
    (sequence,) = Intake(ByteTokenizer(), (EOS,), 1000).sequences([ticket], 0)
    for token in [*tokens, *[ord("a")] * 30]:
        sequence.append(token, 1.0)
        if sequence.finish_reason is not None:
            break
    delivery = Delivery(ByteTokenizer())
    sequence.admitted_at = 0.0
    delivery.deliver(sequence, 2.0)
    delivery.close()
    return list(sequence.generated), ticket.future.result(timeout=60)


@given(
    tokens=st.lists(st.sampled_from(TOKENS), max_size=20),
    stop=st.lists(st.text("ab\né", min_size=1, max_size=3), max_size=2),
    thinking=st.sampled_from(THOUGHTS),
    settings=st.fixed_dictionaries(
        {
            "min_tokens": st.integers(0, 6),
            "include_stop_str_in_output": st.booleans(),
            "skip_special_tokens": st.booleans(),
            "ignore_eos": st.booleans(),
            "stop_token_ids": st.sampled_from([(), (ord("b"),)]),
        }
    ),
)
def test_what_was_sent_never_has_to_be_taken_back(
    tokens: list[int], stop: list[str], thinking: Thinking | None, settings: dict[str, Any]
) -> None:
    request = request_of(thinking, stop=tuple(stop), **settings)
    generated, output = computed(request, tokens)
    pieces = pieces_of(request, generated)
    assert output.text.startswith(joined(pieces, "content"))
    assert (output.reasoning or "").startswith(joined(pieces, "reasoning"))
    assert all(text for _, text in pieces)


def test_plain_text_comes_token_by_token() -> None:
    assert pieces_of(request_of(), [*b"ab\n"]) == [("content", "a"), ("content", "b"), ("content", "\n")]


def test_half_a_character_waits_for_its_other_half() -> None:
    assert pieces_of(request_of(), [E_ACUTE[0]]) == []
    assert pieces_of(request_of(), [*E_ACUTE]) == [("content", "é")]


def test_what_may_become_a_stop_string_waits() -> None:
    request = request_of(stop=("bb",))
    assert pieces_of(request, [*b"ab"]) == [("content", "a")]
    assert pieces_of(request, [*b"aba"]) == [("content", "a"), ("content", "ba")]
    assert joined(pieces_of(request, [*b"abb"]), "content") == "a"


def test_a_stop_string_that_came_too_early_to_count_is_text() -> None:
    assert joined(pieces_of(request_of(stop=("ab",), min_tokens=3), [*b"aba\n"]), "content") == "aba\n"


def test_a_thought_comes_apart_from_the_answer_without_tags_and_newlines() -> None:
    tokens = [START, *b"\naa\n", END, *b"\n\nb"]
    pieces = pieces_of(request_of(THOUGHTS[2]), tokens)
    assert (joined(pieces, "reasoning"), joined(pieces, "content")) == ("aa", "b")


def test_a_text_that_may_hold_calls_ends_at_the_first_call() -> None:
    assert joined(pieces_of(request_of(), [*b"\nab\n", CALL, *b"ab"], CALL), "content") == "\nab"
    assert pieces_of(request_of(), [*b"\n \n", CALL, *b"ab"], CALL) == []
