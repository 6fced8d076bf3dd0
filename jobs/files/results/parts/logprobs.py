"""Format the log-probabilities of a completion's tokens."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.records.completion import Logprobs


@dataclass(frozen=True)
class _Token:
    """A token with its log-probability."""

    raw: bytes  # the token's bytes
    logprob: float | None  # None for the first token of a prompt, before which nothing stands

    @property
    def name(self) -> str:
        """The token's text. A token that is no text has its bytes as text, so that two such tokens differ."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.raw)

    def as_object(self) -> dict[str, Any]:
        """Return the token in the shape of a chat completion."""
        return {"token": self.name, "logprob": self.logprob, "bytes": list(self.raw)}


@dataclass(frozen=True)
class _Place:
    """A token of a text, and the tokens that were likeliest there."""

    token: _Token
    likeliest: tuple[_Token, ...]


def token_objects(logprobs: Logprobs) -> list[dict[str, Any]]:
    """Return the tokens of a text in the shape of a chat completion (`choices[].logprobs.content`)."""
    return [
        {**place.token.as_object(), "top_logprobs": [each.as_object() for each in place.likeliest]}
        for place in _places(logprobs, with_end=False)
    ]


def chat_logprobs(logprobs: Logprobs | None) -> dict[str, Any] | None:
    """Return `choices[].logprobs` of a chat completion. None if the line has not asked for it."""
    return None if logprobs is None else {"content": token_objects(logprobs), "refusal": None}


class TextOffsets:
    """Tells where each token of a text begins, from the first token to the last one."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._length = 0

    def next(self, raw: bytes) -> int:
        """Add the bytes of the next token, and return the number of characters before it."""
        offset = self._length
        self._length += len(self._decoder.decode(raw))
        return offset


def text_logprobs(logprobs: Logprobs | None, offsets: TextOffsets | None = None) -> dict[str, Any] | None:
    """Return `choices[].logprobs` of a text completion. None if the line has not asked for it.

    The token that ended the completion is among the tokens. `top_logprobs` always has the token itself. The first token
    of a prompt has null in its place.

    Args:
        logprobs: The log-probabilities.
        offsets: Has got the tokens before these, if they are a part of a text.
    """
    if logprobs is None:
        return None
    places = list(_places(logprobs, with_end=True))
    offsets = offsets or TextOffsets()
    return {
        "tokens": [place.token.name for place in places],
        "token_logprobs": [place.token.logprob for place in places],
        "top_logprobs": [_named(place) for place in places],
        "text_offset": [offsets.next(place.token.raw) for place in places],
    }


def _named(place: _Place) -> dict[str, float | None] | None:
    """Return the likeliest tokens of a place, and its own. None if the place has no log-probability."""
    if place.token.logprob is None:
        return None
    return {each.name: each.logprob for each in (*place.likeliest, place.token)}


def short_number(value: float) -> float:
    """Return a number of few digits that is the same float32 as `value`."""
    packed = struct.pack("<f", value)
    for digits in (7, 8):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == packed:
            return short
    return float(f"{value:.9g}")


def _places(logprobs: Logprobs, *, with_end: bool) -> Iterator[_Place]:
    ids = struct.unpack(f"<{len(logprobs.token_ids) // 4}i", logprobs.token_ids)
    own = struct.unpack(f"<{len(ids)}f", logprobs.own)
    top_ids = struct.unpack(f"<{len(logprobs.top_ids) // 4}i", logprobs.top_ids)
    top = struct.unpack(f"<{len(top_ids)}f", logprobs.top)
    bare = int(logprobs.starts_bare)
    count = len(top_ids) // max(1, len(ids) - bare)
    raw = logprobs.token_bytes
    shown = len(ids) if with_end or not logprobs.ended_by_token else len(ids) - 1
    if bare:
        yield _Place(_Token(raw[ids[0]], None), ())
    for place in range(bare, shown):
        some = slice((place - bare) * count, (place - bare + 1) * count)
        pairs = zip(top_ids[some], top[some], strict=True)
        likeliest = tuple(_Token(raw[token_id], short_number(value)) for token_id, value in pairs)
        yield _Place(_Token(raw[ids[place]], short_number(own[place])), likeliest)
