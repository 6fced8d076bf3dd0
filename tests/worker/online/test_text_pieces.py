"""Pieces of text are always the beginning of the final text, and come as soon as they are certain."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.request import Request, RequestOutput, Ticket, TokenLogprobs
from engine.requests.delivery import Delivery
from engine.requests.intake import Intake
from engine.stopping.thought import Thinking
from jobs.records.completion import Logprobs
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import EOS, ByteTokenizer
from worker.online.text_pieces import TextPieces
from worker.shards.likelihoods.packed_logprobs import packed

START, END, CALL = 258, 259, 256
E_ACUTE = tuple("é".encode())
TOKENS = [*b"ab\n", *E_ACUTE, START, END, EOS]
THOUGHTS = [None, Thinking(START, END, is_open=True), Thinking(START, END, is_open=False)]


def pieces_of(request: Request, tokens: list[int], call_start_id: int | None = None) -> list[tuple[str, str]]:
    pieces = TextPieces(request, ByteTokenizer(), {EOS}, call_start_id)
    return [(kind, text) for token in tokens for kind, text, _ in pieces.push(token)]


def joined(pieces: list[tuple[str, str]], kind: str) -> str:
    return "".join(text for of, text in pieces if of == kind)


def request_of(thinking: Thinking | None = None, **settings: Any) -> Request:
    return Request((1,), SamplingParams(max_tokens=30, **settings), thinking=thinking)


def likelihood(place: int) -> TokenLogprobs:
    """Log-probabilities that only one place of a completion has."""
    return TokenLogprobs(-float(place), struct.pack("<i", 65), struct.pack("<f", -0.5))


def computed(request: Request, tokens: list[int]) -> tuple[list[int], RequestOutput]:
    """The tokens up to the one that ends the completion, and its output."""
    ticket = Ticket(request)
    (sequence,) = Intake(ByteTokenizer(), (EOS,), 1000).sequences([ticket], 0)
    for place, token in enumerate([*tokens, *[ord("a")] * 30]):
        sequence.append(token, 1.0, likelihood(place))
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


@given(
    tokens=st.lists(st.sampled_from(TOKENS), max_size=20),
    stop=st.lists(st.text("ab\né", min_size=1, max_size=3), max_size=2),
    thinking=st.sampled_from(THOUGHTS),
    settings=st.fixed_dictionaries(
        {
            "include_stop_str_in_output": st.booleans(),
            "skip_special_tokens": st.booleans(),
            "stop_token_ids": st.sampled_from([(), (ord("b"),)]),
        }
    ),
)
def test_each_piece_has_the_log_probabilities_of_the_tokens_that_begin_in_its_text(
    tokens: list[int], stop: list[str], thinking: Thinking | None, settings: dict[str, Any]
) -> None:
    request = replace(request_of(thinking, stop=tuple(stop), **settings), logprobs=1)
    generated, output = computed(request, tokens)
    assert output.logprobs is not None
    whole = packed(output.logprobs)
    pieces = TextPieces(request, ByteTokenizer(), {EOS})
    pushed = (piece for place, token in enumerate(generated) for piece in pieces.push(token, likelihood(place)))
    found = [(len(piece.text), piece.tokens) for piece in pushed if piece.kind == "content"]
    rest = len(output.text) - sum(length for length, _ in found)
    found.append((rest, pieces.tokens_of_rest(rest)))
    shown, parts = 0, Logprobs(b"", b"")
    for length, some in found:
        if some is not None:
            assert some.first == parts.num_tokens
            assert all(shown <= start < shown + length for start in some.starts)
            parts = parts.then(some.logprobs)
        shown += length
    assert whole.token_ids.startswith(parts.token_ids)
    assert (whole.own.startswith(parts.own), whole.top.startswith(parts.top)) == (True, True)
    left = output.logprobs.token_ids[parts.num_tokens :]
    without_text = {*range(256, 260), E_ACUTE[0], *settings["stop_token_ids"]}
    assert without_text.issuperset(left)


def test_newlines_after_a_thought_bring_no_log_probabilities() -> None:
    pieces = TextPieces(replace(request_of(THOUGHTS[2]), logprobs=0), ByteTokenizer(), {EOS})
    tokens = [START, *b"a", END, *b"\n\nb"]
    shown = [each for place, token in enumerate(tokens) for each in pieces.push(token, likelihood(place))]
    assert [(each.text, each.tokens and each.tokens.logprobs.token_ids) for each in shown] == [
        ("a", None),
        ("b", struct.pack("<i", ord("b"))),
    ]


def test_a_tool_call_brings_no_log_probabilities() -> None:
    pieces = TextPieces(replace(request_of(), logprobs=0), ByteTokenizer(), {EOS}, CALL)
    tokens = [*b"ab", CALL, *b"ab"]
    shown = [each for place, token in enumerate(tokens) for each in pieces.push(token, likelihood(place))]
    assert [each.tokens and each.tokens.starts for each in shown] == [(0,), (1,)]
    assert pieces.tokens_of_rest(0) is None


def test_half_a_character_brings_its_log_probabilities_with_the_other_half() -> None:
    pieces = TextPieces(replace(request_of(), logprobs=0), ByteTokenizer(), {EOS})
    assert pieces.push(E_ACUTE[0], likelihood(0)) == []
    [piece] = pieces.push(E_ACUTE[1], likelihood(1))
    assert piece.tokens is not None
    assert (piece.text, piece.tokens.starts, piece.tokens.logprobs.token_ids) == (
        "é",
        (0, 0),
        struct.pack("<2i", *E_ACUTE),
    )


def test_a_token_that_is_held_back_in_part_comes_with_its_first_part() -> None:
    pieces = TextPieces(replace(request_of(stop=("bb",)), logprobs=0), ByteTokenizer(), {EOS})
    shown = [each for place, token in enumerate(b"aba") for each in pieces.push(token, likelihood(place))]
    assert [(each.text, each.tokens and each.tokens.starts) for each in shown] == [("a", (0,)), ("ba", (1, 2))]


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
