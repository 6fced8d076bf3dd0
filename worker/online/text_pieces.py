"""Text of a completion that grows, as far as nothing that follows can change it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol

from engine.request import Request, TokenLogprobs
from engine.stopping.stop_strings import TokenStream
from engine.stopping.thought import AnswerStream, Thought
from jobs.online.messages import PieceTokens
from worker.online.answer_tokens import AnswerTokens

Kind = Literal["content", "reasoning"]


class Text(NamedTuple):
    """The next part of a completion's text."""

    kind: Kind
    text: str
    tokens: PieceTokens | None = None  # of an answer's text, if the request asks for log-probabilities


class _Token(NamedTuple):
    """A token of a completion, with the log-probabilities at its place if the request asks for them."""

    id: int
    logprobs: TokenLogprobs | None


class StreamTokenizer(Protocol):
    """Interface of the tokenizer for `TextPieces`."""

    def stream(self, skip_special_tokens: bool = True, /) -> TokenStream:
        """Return a new stream for the tokens of one completion."""

    def token_bytes(self, token_id: int, /) -> bytes:
        """Return the bytes of one token. They may be a part of a character."""


class TextPieces:
    """Turns the tokens of one completion into pieces of text, one by one.

    It holds back whatever might not be part of the final text. That is half a character, the beginning of a stop
    string, the text of a stop token, a tool call, or newlines beside a thought's tags.

    Args:
        request: The completion's request.
        tokenizer: The model's tokenizer.
        eos_token_ids: Tokens that end a completion.
        call_start_id: Token with which a tool call begins; None if the text may not hold calls.
    """

    def __init__(
        self,
        request: Request,
        tokenizer: StreamTokenizer,
        eos_token_ids: Collection[int],
        call_start_id: int | None = None,
    ) -> None:
        params = request.params
        skips = params.skip_special_tokens
        self._ending_ids = frozenset(eos_token_ids) | frozenset(params.stop_token_ids)
        self._call_start_id = call_start_id
        self._in_call = False
        self._held: _Token | None = None  # a token that has ended the completion if no other one follows
        self._thought = Thought(request.thinking, None, tokenizer.stream()) if request.thinking else None
        answer = tokenizer.stream(skips)
        self._answer: TokenStream = AnswerStream(answer, self._thought) if self._thought else answer
        self._thinking_text = tokenizer.stream(skips)
        self._reasoning = _Newlines()
        self._stops = _StopHold(params.stop)
        self._blanks = _BlankHold() if call_start_id is not None else None
        self._tokens = AnswerTokens(tokenizer.token_bytes)
        self._has_begun = False  # True: the answer has begun, so newlines are a part of it

    def push(self, token_id: int, logprobs: TokenLogprobs | None = None) -> list[Text]:
        """Add the completion's next token. Returns the pieces that are certain now, often none.

        Args:
            token_id: The token.
            logprobs: The log-probabilities at its place, if the request asks for them.
        """
        ready = [] if self._held is None else [self._held]
        self._held = None
        if token_id in self._ending_ids:
            self._held = _Token(token_id, logprobs)
        else:
            ready.append(_Token(token_id, logprobs))
        found = [self._text_of(*each) for each in ready]
        return [piece for piece in found if piece is not None and piece.text]

    def tokens_of_rest(self, num_chars: int) -> PieceTokens | None:
        """Return the tokens of the rest of the answer's text. Call this once, after the last token.

        Args:
            num_chars: Characters of the answer that no piece has had.
        """
        held = self._held
        if held is not None and not self._in_call and not (self._thought is not None and self._thought.push(held.id)):
            self._added(*held)
        return self._tokens.take(num_chars)

    def _text_of(self, token_id: int, logprobs: TokenLogprobs | None) -> Text | None:
        if self._thought is not None:
            was_open = self._thought.is_open
            if self._thought.push(token_id):
                is_tag = not (was_open and self._thought.is_open)
                return None if is_tag else Text("reasoning", self._reasoning.push(self._thinking_text.push(token_id)))
        if token_id == self._call_start_id:
            self._in_call = True
        if self._in_call:
            return None
        text = self._stops.push(self._added(token_id, logprobs))
        shown = self._blanks.push(text) if self._blanks else text
        return Text("content", shown, self._tokens.take(len(shown)))

    def _added(self, token_id: int, logprobs: TokenLogprobs | None) -> str:
        """Add a token to the answer, and return the text that it completes."""
        text = self._answer.push(token_id)
        follows_thought = self._thought is not None and self._thought.began
        self._has_begun = self._has_begun or bool(text) or not follows_thought or not self._answer.is_complete
        if logprobs is not None and self._has_begun:
            self._tokens.add(token_id, logprobs, text)
        return text


class _Newlines:
    """Drops newlines at the beginning of a text, and holds back those at its end."""

    def __init__(self) -> None:
        self._began = False
        self._held = ""

    def push(self, text: str) -> str:
        text = self._held + (text if self._began else text.lstrip("\n"))
        self._began = self._began or bool(text)
        shown = text.rstrip("\n")
        self._held = text[len(shown) :]
        return shown


class _BlankHold:
    """Holds back blanks at the beginning and a newline at the end, which are dropped beside a tool call."""

    def __init__(self) -> None:
        self._began = False
        self._held = ""

    def push(self, text: str) -> str:
        text = self._held + text
        self._began = self._began or bool(text.strip())
        shown = text.removesuffix("\n") if self._began else ""
        self._held = text[len(shown) :]
        return shown


class _StopHold:
    """Holds back the end of a text that may become a stop string, and everything from a whole one on."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held = ""

    def push(self, text: str) -> str:
        if not self._stop or not text:
            return text
        whole = self._held + text
        cut = min(self._starts(whole, len(self._held)), default=len(whole))
        self._held = whole[cut:]
        return whole[:cut]

    def _starts(self, text: str, num_old: int) -> list[int]:
        """Return the places where a stop string begins that ends after the first `num_old` characters, or may end."""
        whole = [text.find(stop, max(0, num_old - len(stop) + 1)) for stop in self._stop]
        return [start for start in (*whole, *(self._partial(text, stop) for stop in self._stop)) if start >= 0]

    @staticmethod
    def _partial(text: str, stop: str) -> int:
        """Return where the longest end of the text begins that is a beginning of the stop string. -1 if there is none.

        A whole stop string at the end does not count.
        """
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return len(text) - length
        return -1
