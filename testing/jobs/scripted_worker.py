"""A worker for interactive requests that says what a test tells it to say, through the real store."""

from __future__ import annotations

import uuid

from jobs.online.messages import Abort, AnyReply, End, OnlineRequest, Piece, ReplyEntry, Taken
from jobs.online.online_store import OnlineStore
from jobs.records.completion import Completion, Usage
from jobs.records.sampling import FinishReason

_TAKE_SECONDS = 60.0


class ScriptedWorker:
    """Takes requests for one model when a test asks for one. It does not report: the test says that it is alive.

    Args:
        store: What HTTP processes write requests to.
        model: The served model.
    """

    def __init__(self, store: OnlineStore, model: str) -> None:
        self._store = store
        self.model = model
        self._numbers: dict[str, int] = {}
        self.name = f"scripted:{uuid.uuid4().hex}"  # no two workers have the same id

    def take(self) -> OnlineRequest:
        """Return the next request, which must come within a minute."""
        taken = self._store.take(self.model, self.name, _TAKE_SECONDS)
        assert isinstance(taken, OnlineRequest), taken
        return taken

    def order(self) -> Abort:
        """Return the next order to this worker, which must come within a minute."""
        order = self._store.take(self.model, self.name, _TAKE_SECONDS, requests=False)
        assert isinstance(order, Abort), order
        return order

    def say(self, request: OnlineRequest, *replies: AnyReply, skipped: int = 0) -> None:
        """Send replies as one entry. `skipped` entries before it get lost."""
        number = self._numbers.get(request.server, 0) + 1 + skipped
        self._numbers[request.server] = number
        self._store.reply(request.server, ReplyEntry(self.name, number, replies))

    def answer(self, request: OnlineRequest, *texts: str) -> None:
        """Take a request, and send its text in these pieces to the end."""
        self.say(request, taken(request), *pieces(request, *texts))
        self.say(request, end(request, "".join(texts)))


def taken(request: OnlineRequest) -> Taken:
    """Return the first reply to a request."""
    return Taken(request.id, request.attempt)


def pieces(request: OnlineRequest, *texts: str, offset: int = 0) -> tuple[Piece, ...]:
    """Return the pieces of a text."""
    found = []
    for text in texts:
        found.append(Piece(request.id, request.attempt, offset, text))
        offset += len(text)
    return tuple(found)


def end(request: OnlineRequest, text: str) -> End:
    """Return the last reply to a request, with its whole text."""
    usage = Usage(5, max(len(text.split()), 1))
    prompt = request.prompt
    completion = Completion(prompt.index, prompt.id, text, FinishReason.STOP, usage, endpoint=prompt.endpoint)
    return End(request.id, request.attempt, completion)
