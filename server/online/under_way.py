"""One interactive request, from its acceptance to its end. All of it happens on the event loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import structs

from jobs.online.messages import AnyReply, End, Gone, OnlineRequest, Piece, Refused, Taken
from jobs.records.completion import Completion, Logprobs
from server.middleware.api_error import ApiError
from server.online.incoming_text import IncomingText
from server.online.incoming_tokens import IncomingTokens
from server.online.line_errors import api_error_of_line
from server.online.wakeup import Wakeup

Kind = Literal["content", "reasoning"]


class NewText(NamedTuple):
    """Text of one completion that has arrived."""

    choice: int  # index of the completion
    kind: Kind
    text: str
    logprobs: Logprobs | None = None  # of the tokens that begin in the text, if the client asks for them


class UnderWay:
    """A request that somebody waits for.

    Args:
        request: Its first attempt.
        key_id: The API key of its sender.
        now: The time, in seconds of any clock.
        seconds: Max time until its end.
    """

    def __init__(self, request: OnlineRequest, key_id: str, now: float, seconds: float) -> None:
        self.request = request  # the current attempt
        self.key_id = key_id
        self.expires_at = now + seconds
        self.worker: str | None = None  # that has taken the current attempt
        self.attempted_at = now  # when the current attempt was made
        self.is_pushed = False  # True: the store has got the current attempt
        self.is_settled = False  # True: no worker works on it any more
        self.lost_workers = 0  # that died while they worked on it
        self.client_left = False
        self.completion: Completion | None = None
        self.error: ApiError | None = None
        self._texts: dict[tuple[int, Kind], IncomingText] = {}
        self._tokens: defaultdict[int, IncomingTokens] = defaultdict(IncomingTokens)  # by completion
        self._changed = Wakeup()

    @property
    def has_begun(self) -> bool:
        """True if a worker has taken the request, or if it has ended."""
        return self.worker is not None or self.has_ended

    @property
    def has_ended(self) -> bool:
        """True if there is nothing to wait for any more."""
        return self.completion is not None or self.error is not None or self.client_left

    async def change(self, seconds: float) -> bool:
        """Wait until something has changed since the last call. Returns False if nothing has after `seconds`."""
        return await self._changed.wait(seconds)

    def receive(self, reply: AnyReply, worker: str) -> None:
        """Handle a reply to the current attempt. Raises `TextDiffers` and `TextMissing`."""
        match reply:
            case Taken():
                self.worker = worker
            case Piece():
                self.worker = worker
                if reply.kind == "content" or self.request.prompt.include_reasoning:
                    self._text(reply.choice, reply.kind).add(reply.offset, reply.text)
                if reply.tokens is not None:
                    self._tokens[reply.choice].add(reply.tokens)
            case Refused():
                self.is_settled, self.error = True, api_error_of_line(reply.error, reply.param)
            case End(completion=completion):
                self.is_settled = True
                self._finish(completion)
            case Gone():
                return
        self._changed.set()

    def fail(self, error: ApiError) -> None:
        """End the request with an error, unless it has ended."""
        if not self.has_ended:
            self.error = error
            self._changed.set()

    def leave(self) -> None:
        """Note that its client has left."""
        self.client_left = True
        self._changed.set()

    def try_again(self, now: float) -> None:
        """Begin the next attempt. What was handed out of the text stays."""
        self.request = structs.replace(self.request, attempt=self.request.attempt + 1)
        self.worker, self.attempted_at, self.is_pushed = None, now, False

    def new_texts(self) -> Iterator[NewText]:
        """Hand out the text that has arrived since the last call, by completion. A thought comes before its answer."""
        for (choice, kind), text in sorted(self._texts.items(), key=lambda item: (item[0][0], item[0][1] == "content")):
            if new := text.take():
                tokens = self._tokens.get(choice) if kind == "content" else None
                yield NewText(choice, kind, new, None if tokens is None else tokens.take(text.num_taken))

    def _finish(self, completion: Completion) -> None:
        if completion.error is not None:
            self.error = api_error_of_line(completion.error)
            return
        for place, choice in enumerate(completion.choices):
            self._text(place, "reasoning").finish(choice.reasoning or "")
            self._text(place, "content").finish(choice.text)
            if choice.logprobs is not None and place in self._tokens:
                self._tokens[place].finish(choice.logprobs)
        self.completion = completion

    def _text(self, choice: int, kind: Kind) -> IncomingText:
        prompt = self.request.prompt
        may_call = kind == "content" and prompt.tools is not None and prompt.tool_choice != "none"
        return self._texts.setdefault((choice, kind), IncomingText(may_call))
