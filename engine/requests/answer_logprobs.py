"""The log-probabilities of a finished sequence, as far as they belong to the text of its answer."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import replace

from engine.request import AnswerLogprobs, TokenLogprobs
from engine.requests.ports import Detokenizer
from engine.scheduling.sequence import Sequence


def answer_logprobs(sequence: Sequence, detokenizer: Detokenizer) -> AnswerLogprobs | None:
    """Return the log-probabilities of a finished sequence. None if its request did not ask for them."""
    if sequence.ticket.request.logprobs is None:
        return None
    checker = sequence.stop_checker
    first = checker.thought.num_tokens if checker.thought is not None and checker.thought.began else 0
    answer = sequence.generated[first:]
    begin, end = _text_span(sequence, answer, after_thought=first > 0, detokenizer=detokenizer)
    places = [place for place in sequence.logprobs[first + begin : first + end] if place is not None]
    if len(places) != end - begin:
        raise RuntimeError("a token of an answer has no log-probability")
    token_ids = tuple(answer[begin:end])
    return AnswerLogprobs(
        token_ids=token_ids,
        places=tuple(places),
        token_bytes=named_bytes((sequence.tokens[0], *token_ids), places, detokenizer.token_bytes),
        ended_by_token=checker.ended_by_token and not sequence.params.include_stop_str_in_output,
    )


def named_bytes(
    token_ids: Items[int], places: Items[TokenLogprobs], token_bytes: Callable[[int], bytes]
) -> dict[int, bytes]:
    """Return the bytes of each of some tokens, and of the likeliest tokens at some places."""
    named = set(token_ids).union(*(ids_of(place) for place in places))
    return {token_id: token_bytes(token_id) for token_id in sorted(named)}


def ids_of(place: TokenLogprobs) -> Items[int]:
    """Return the ids of the likeliest tokens at a place."""
    ids = array("i", place.top_ids)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids


def before(found: AnswerLogprobs, token_id: int) -> AnswerLogprobs:
    """Return the part before the first place of a token. If the answer does not have it, that is everything."""
    if token_id not in found.token_ids:
        return found
    count = found.token_ids.index(token_id)
    return replace(found, token_ids=found.token_ids[:count], places=found.places[:count], ended_by_token=False)


def _text_span(
    sequence: Sequence, answer: Items[int], *, after_thought: bool, detokenizer: Detokenizer
) -> tuple[int, int]:
    """Return the first of the answer's tokens that has a part in its text, and the end of these tokens.

    A token has a part in the text if it begins before the stop string. Tokens without a text, such as special ones,
    have the place of the text that follows them.
    """
    text = sequence.stop_checker.text
    if text is None and not after_thought:
        return 0, len(answer)
    stream = detokenizer.stream(sequence.params.skip_special_tokens)
    begin: int | None = None if after_thought else 0
    length = 0
    for place, token_id in enumerate(answer):
        if text is not None and length >= len(text):
            return (place if begin is None else begin), place
        piece = stream.push(token_id)
        if begin is None:
            piece = piece.lstrip("\n")
            begin = place if piece or not stream.is_complete else None
        length += len(piece)
    return (len(answer) if begin is None else begin), len(answer)
