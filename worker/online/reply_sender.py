"""The thread that tells HTTP processes what becomes of their requests."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from engine.request import TokenLogprobs
from jobs.errors import StoreFull, StoreUnavailable
from jobs.online.messages import AnyReply, End, Gone, Piece, Refused, ReplyEntry, Taken
from jobs.online.online_store import OnlineWorkerSide
from jobs.records.completion import Completion, ErrorCode
from model.text.tool_calls import ToolCallParser
from worker.online.online_run import OnlineRun, OnlineRuns
from worker.shards.inference_engine import InferenceEngine
from worker.shards.line_result import completion_of
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

_REFUSALS = (ErrorCode.INVALID_LINE, ErrorCode.PROMPT_TOO_LONG)


@dataclass(frozen=True)
class NewToken:
    """The engine has a new token of a request's completion."""

    run: OnlineRun
    index: int  # index of the request of the engine
    token_id: int
    logprobs: TokenLogprobs | None = None  # at the token's place, if the client asks for them


@dataclass(frozen=True)
class Begun:
    """The request is in the engine."""

    run: OnlineRun
    token_bytes: Callable[[int], bytes]  # returns the bytes of a token


@dataclass(frozen=True)
class PromptScored:
    """The engine has finished a request that scores a prompt, which the client wants repeated in the stream."""

    run: OnlineRun
    index: int  # index of the request of the engine


@dataclass(frozen=True)
class Finished:
    """The engine has finished, refused or aborted all completions of a request."""

    run: OnlineRun


@dataclass(frozen=True)
class Closed:
    """The worker ends its work on a request before the engine has finished it."""

    run: OnlineRun
    reply: End | Gone | None  # what the server is told; None if it does not listen any more


@dataclass(frozen=True)
class Unrunnable:
    """A request never came into the engine."""

    server: str
    reply: Refused | End | Gone


RunEvent: TypeAlias = NewToken | Begun | PromptScored | Finished | Closed
Event: TypeAlias = RunEvent | Unrunnable


class ReplySender:
    """Turns events of the engine into replies, and sends them from a thread of its own.

    The engine's thread only appends to a queue. All replies to one server that are ready travel as one entry. Pieces
    wait up to `interval_seconds` for others; everything else, and the first piece of a text, goes out at once.

    Args:
        store: Takes the entries.
        engine: Aborts requests that failed here.
        runs: The requests that this worker runs.
        link: Bridges a store that does not answer.
        worker_id: The worker's id.
        tool_parser: Finds tool calls; None if the model cannot call tools.
        interval_seconds: Min time between two entries that hold only pieces.
    """

    def __init__(
        self,
        *,
        store: OnlineWorkerSide,
        engine: InferenceEngine,
        runs: OnlineRuns,
        link: StoreLink,
        worker_id: str,
        tool_parser: ToolCallParser | None,
        interval_seconds: float,
    ) -> None:
        self._store = store
        self._engine = engine
        self._runs = runs
        self._link = link
        self._worker_id = worker_id
        self._tool_parser = tool_parser
        self._interval = interval_seconds
        self._events: deque[Event] = deque()
        self._some = threading.Event()  # there are events
        self._hurry = threading.Event()  # there are events that must not wait
        self._stopped = threading.Event()
        self._numbers: Counter[str] = Counter()  # entries sent so far, per server
        self._thread = threading.Thread(target=self._run, name="online-replies", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Send what is ready, and end the thread. Waits up to `timeout_seconds`."""
        self._stopped.set()
        self._hurry.set()
        self._some.set()
        self._thread.join(timeout_seconds)

    def put(self, event: Event, *, waits: bool = False) -> None:
        """Add an event. Safe on the engine's thread.

        Args:
            event: The event.
            waits: True if the event may wait until the next entry.
        """
        self._events.append(event)
        # A flag that is set needs no call: the thread clears the flags before it takes the events.
        if not (waits or self._hurry.is_set()):
            self._hurry.set()
        if not self._some.is_set():
            self._some.set()

    def _run(self) -> None:
        while self._events or not self._stopped.is_set():
            self._some.wait()
            self._hurry.wait(self._interval)
            self._hurry.clear()
            self._some.clear()
            self._send(self._ready())

    def _ready(self) -> dict[str, list[AnyReply]]:
        """Return the replies to all events so far, per server."""
        ready: defaultdict[str, list[AnyReply]] = defaultdict(list)
        while self._events:
            event = self._events.popleft()
            if isinstance(event, Unrunnable):
                ready[event.server].append(event.reply)
            else:
                ready[event.run.request.server] += self._replies(event)
        return ready

    def _replies(self, event: RunEvent) -> list[AnyReply]:
        """Return the replies to one event. A request whose replies cannot be made fails alone."""
        run = event.run
        replies: list[AnyReply] = []
        try:
            replies += self._said_of(event)
        except Exception as error:
            log.exception("the replies to request %s could not be made", run.request.id)
            self._abort(run)
            why = f"{type(error).__name__}: {error}"
            replies.append(ended(run, Completion.failed_prompt(run.request.prompt, ErrorCode.INTERNAL_ERROR, why)))
            run.closed = True
        return replies

    def _said_of(self, event: RunEvent) -> Iterator[AnyReply]:
        run = event.run
        if isinstance(event, Finished):
            self._runs.remove(run)
        if run.closed:
            return
        if isinstance(event, Finished):
            yield from self._outcome(run)
        elif isinstance(event, Closed):
            run.closed = True
            self._abort(run)
            if event.reply is not None:
                yield event.reply
        else:
            yield from _taken(run)
            if isinstance(event, NewToken):
                yield from run.new_pieces(event.index, event.token_id, event.logprobs)
            elif isinstance(event, PromptScored):
                yield from run.prompt_scored(event.index)
            else:
                yield from run.begin(event.token_bytes)

    def _outcome(self, run: OnlineRun) -> Iterator[AnyReply]:
        assert run.line is not None
        run.closed = True
        completion = completion_of(run.line, self._tool_parser)
        if completion is None:  # aborted
            return
        if completion.error is not None and completion.error.code in _REFUSALS and not run.taken:
            yield Refused(run.request.id, run.request.attempt, completion.error)
            return
        yield from _taken(run)
        yield from run.last_pieces(completion)
        yield ended(run, completion)

    def _abort(self, run: OnlineRun) -> None:
        if run.line is not None:
            self._engine.abort_many(run.line.tickets)

    def _send(self, ready: dict[str, list[AnyReply]]) -> None:
        for server, replies in ready.items():
            if replies:
                self._numbers[server] += 1
                self._send_entry(server, ReplyEntry(self._worker_id, self._numbers[server], tuple(_joined(replies))))

    def _send_entry(self, server: str, entry: ReplyEntry) -> None:
        try:
            self._link.insist(lambda: self._store.reply(server, entry))
        except (StoreUnavailable, StoreFull):
            log.warning("the last %d replies to %s could not be sent", len(entry.replies), server)
        except Exception:
            log.exception("replies to %s could not be sent", server)
            time.sleep(self._interval)


def ended(run: OnlineRun, completion: Completion) -> End:
    """Return the last reply to a request."""
    return End(run.request.id, run.request.attempt, completion)


def _taken(run: OnlineRun) -> Iterator[Taken]:
    if not run.taken:
        run.taken = True
        yield Taken(run.request.id, run.request.attempt)


def _joined(replies: Iterable[AnyReply]) -> list[AnyReply]:
    """Join the pieces that follow each other in one choice of a request."""
    joined: list[AnyReply] = []
    places: dict[tuple[str, int, int], int] = {}  # request, attempt and choice -> place of its latest piece
    for reply in replies:
        if isinstance(reply, Piece):
            choice = (reply.request_id, reply.attempt, reply.choice)
            before = joined[places[choice]] if choice in places else None
            if isinstance(before, Piece) and before.kind == reply.kind:
                joined[places[choice]] = before.then(reply)
                continue
            places[choice] = len(joined)
        joined.append(reply)
    return joined
