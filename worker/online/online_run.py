"""One interactive request that this worker runs, and the set of all of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.request import Request, TokenLogprobs
from jobs.online.messages import OnlineRequest, Piece, PieceTokens
from jobs.records.completion import Completion
from worker.online.text_pieces import Kind, TextPieces
from worker.shards.in_flight import Line


@dataclass
class _SentText:
    """Text that has been sent, in parts: a long text is not copied for every token."""

    parts: list[str] = field(default_factory=list)
    num_chars: int = 0

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.num_chars += len(text)


@dataclass(eq=False)
class OnlineRun:
    """One attempt at a request. Only the thread of `ReplySender` changes its text."""

    request: OnlineRequest
    requests: Sequence[Request]  # the engine's requests, one per different completion
    pieces: Sequence[TextPieces]  # one per request of the engine; empty if the client wants no stream
    line: Line | None = None  # None until the requests are in the engine
    taken: bool = False  # True: the server knows that this worker runs the request
    closed: bool = False  # True: nothing more is said about the request
    sent: defaultdict[tuple[int, Kind], _SentText] = field(default_factory=lambda: defaultdict(_SentText))  # by choice

    @property
    def num_sequences(self) -> int:
        """Number of places in the batch that the request takes."""
        return len(self.requests)

    @property
    def repeats(self) -> int:
        """Number of choices that each request of the engine gives. Equal completions are computed once."""
        return self.request.prompt.num_choices // len(self.requests)

    def new_pieces(self, index: int, token_id: int, logprobs: TokenLogprobs | None) -> Iterator[Piece]:
        """Add a token of a request of the engine, and yield what the client may see now.

        Args:
            index: Index of the request of the engine.
            token_id: The new token.
            logprobs: The log-probabilities at its place, if the client asks for them.
        """
        for kind, text, tokens in self.pieces[index].push(token_id, logprobs):
            if kind == "reasoning" and not self.request.prompt.include_reasoning:
                continue
            for choice in range(index * self.repeats, (index + 1) * self.repeats):
                yield self._piece(choice, kind, text, tokens)

    def last_pieces(self, completion: Completion) -> Iterator[Piece]:
        """Yield what is missing, so that all pieces together are the completion's text.

        Raises:
            ValueError: What has been sent is not the beginning of the completion's text.
        """
        if not self.pieces:
            return
        rests: dict[int, PieceTokens | None] = {}  # by index of the request of the engine
        for number, choice in enumerate(completion.choices):
            texts: tuple[tuple[Kind, str], ...] = (("reasoning", choice.reasoning or ""), ("content", choice.text))
            for kind, text in texts:
                sent = "".join(self.sent[number, kind].parts)
                if not text.startswith(sent):
                    raise ValueError(f"the {kind} of choice {number} differs from the {len(sent)} characters sent")
                if len(text) == len(sent):
                    continue
                index, rest = number // self.repeats, text[len(sent) :]
                if kind == "content" and index not in rests:
                    rests[index] = self.pieces[index].tokens_of_rest(len(rest))
                yield self._piece(number, kind, rest, rests[index] if kind == "content" else None)

    def _piece(self, choice: int, kind: Kind, text: str, tokens: PieceTokens | None) -> Piece:
        sent = self.sent[choice, kind]
        offset = sent.num_chars
        sent.add(text)
        return Piece(self.request.id, self.request.attempt, offset, text, choice, kind, tokens)


class OnlineRuns:
    """The requests that this worker runs. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs: set[OnlineRun] = set()

    def add(self, run: OnlineRun) -> None:
        """Add a request that begins."""
        with self._changed:
            self._runs.add(run)

    def remove(self, run: OnlineRun) -> None:
        """Remove a request that the engine does not run any more."""
        with self._changed:
            self._runs.discard(run)
            self._changed.notify_all()

    def all(self) -> list[OnlineRun]:
        """Return every request."""
        with self._changed:
            return list(self._runs)

    def of(self, request_id: str) -> list[OnlineRun]:
        """Return all attempts at a request."""
        return [run for run in self.all() if run.request.id == request_id]

    @property
    def num_sequences(self) -> int:
        """Number of places in the batch that the requests take."""
        return sum(run.num_sequences for run in self.all())

    def wait_until_idle(self) -> None:
        """Wait until no request is left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._runs)
