"""One interactive request that this worker runs, and the set of all of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from engine.request import AnswerLogprobs, Request, TokenLogprobs
from jobs.online.messages import OnlineRequest, Piece, PieceTokens
from jobs.records.completion import Completion
from worker.online.prompt_echo import PromptEcho
from worker.online.text_pieces import Kind, Text, TextPieces
from worker.shards.in_flight import Line
from worker.shards.likelihoods.echo import echoed_prompt


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

    def __post_init__(self) -> None:
        prompt = self.request.prompt
        generating = [index for index, request in enumerate(self.requests) if request.scoring is None]
        repeats = prompt.num_choices // max(len(generating), 1)  # equal completions are computed once
        self._choices = {index: range(at * repeats, (at + 1) * repeats) for at, index in enumerate(generating)}
        self._echoes = {index: PromptEcho(prompt.echo == "all") for index in generating if prompt.echo is not None}
        self._parts = prompt.parts() if self._echoes else ()

    @property
    def num_sequences(self) -> int:
        """Number of places in the batch that the request takes."""
        return len(self.requests)

    def begin(self, token_bytes: Callable[[int], bytes]) -> Iterator[Piece]:
        """Yield the prompts that the client wants repeated, apart from those that are scored first.

        Args:
            token_bytes: Returns the bytes of a token.
        """
        for index in self._echoes if self.pieces else ():
            request = self.requests[index]
            first, *rest = request.token_ids
            if request.logprobs is None:
                yield from self._prompt(index, None)
            elif not rest:
                yield from self._prompt(index, AnswerLogprobs((), (), {first: token_bytes(first)}, False))

    def prompt_scored(self, index: int) -> Iterator[Piece]:
        """Yield a prompt whose score is known, for each completion that it begins.

        Args:
            index: Index of the request of the engine that has scored the prompt.
        """
        assert self.line is not None
        future = self.line.tickets[index].future
        if future.cancelled() or future.exception() is not None:
            return
        for following in range(index + 1, len(self.requests)):
            if self.requests[following].scoring is not None or self._part(following) != self._part(index + 1):
                return
            yield from self._prompt(following, future.result().logprobs)

    def new_pieces(self, index: int, token_id: int, logprobs: TokenLogprobs | None) -> Iterator[Piece]:
        """Add a token of a request of the engine, and yield what the client may see now.

        Args:
            index: Index of the request of the engine.
            token_id: The new token.
            logprobs: The log-probabilities at its place, if the client asks for them.
        """
        texts = self.pieces[index].push(token_id, logprobs)
        yield from self._shown(index, self._echoes[index].behind(texts) if index in self._echoes else texts)

    def last_pieces(self, completion: Completion) -> Iterator[Piece]:
        """Yield what is missing, so that all pieces together are the completion's text.

        Raises:
            ValueError: What has been sent is not the beginning of the completion's text.
        """
        if not self.pieces:
            return
        rests: dict[int, PieceTokens | None] = {}  # by index of the request of the engine
        index_of = {number: index for index, numbers in self._choices.items() for number in numbers}
        for number, choice in enumerate(completion.choices):
            texts: tuple[tuple[Kind, str], ...] = (("reasoning", choice.reasoning or ""), ("content", choice.text))
            for kind, text in texts:
                sent = "".join(self.sent[number, kind].parts)
                if not text.startswith(sent):
                    raise ValueError(f"the {kind} of choice {number} differs from the {len(sent)} characters sent")
                if len(text) == len(sent):
                    continue
                index, rest = index_of[number], text[len(sent) :]
                if kind == "content" and index not in rests:
                    rests[index] = self._tokens_of_rest(index, rest)
                yield self._piece(number, kind, rest, rests[index] if kind == "content" else None)

    def _tokens_of_rest(self, index: int, rest: str) -> PieceTokens | None:
        tokens = self.pieces[index].tokens_of_rest(len(rest))
        if index not in self._echoes:
            return tokens
        return next((text.tokens for text in self._echoes[index].behind([Text("content", rest, tokens)])), None)

    def _part(self, index: int) -> int:
        """Return the number of the prompt that a request of the engine completes."""
        return self._choices[index].start // self.request.prompt.n

    def _prompt(self, index: int, found: AnswerLogprobs | None) -> Iterator[Piece]:
        prompt = echoed_prompt(self._parts[self._part(index)], self.requests[index].token_ids, found)
        yield from self._shown(index, self._echoes[index].begin(prompt))

    def _shown(self, index: int, texts: Iterable[Text]) -> Iterator[Piece]:
        """Yield pieces of the text of each choice that a request of the engine gives."""
        for kind, text, tokens in texts:
            if kind == "reasoning" and not self.request.prompt.include_reasoning:
                continue
            for choice in self._choices[index]:
                yield self._piece(choice, kind, text, tokens)

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
