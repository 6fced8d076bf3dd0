"""The thread that takes interactive requests from the store and gives them to the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Protocol

from engine.request import Request, RequestOutput, TokenLogprobs
from jobs.errors import RecordDamaged, StoreFull, StoreUnavailable
from jobs.online.messages import Abort, End, Gone, OnlineRequest, Refused
from jobs.online.online_store import OnlineWorkerSide
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import NewJob
from jobs.records.sampling import NOTHING_SAID
from worker.online.online_run import OnlineRun, OnlineRuns
from worker.online.reply_sender import Begun, Closed, Finished, NewToken, PromptScored, ReplySender, Unrunnable
from worker.online.text_pieces import StreamTokenizer, TextPieces
from worker.shards.active_shards import ActiveShards
from worker.shards.in_flight import Line
from worker.shards.inference_engine import InferenceEngine
from worker.shards.preparation import Preparation
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

GROUP = "online"  # statistics group of all interactive requests in the engine
WAIT_SECONDS = 1.0  # max duration of a call to the store
FULL_WAIT_SECONDS = 0.05  # max duration while all places are taken, so that a free place is noticed soon
TROUBLE_SECONDS = 0.5  # pause after a call that failed
LATE = "The request's time is over."


@dataclass(frozen=True)
class TextSource:
    """Parts that turn tokens into pieces of text."""

    tokenizer: StreamTokenizer
    eos_token_ids: Collection[int]
    call_start_id: int | None  # token with which a tool call begins; None if the model cannot call tools


@dataclass(frozen=True)
class OnlineIntake:
    """Takes requests and orders from the store, one at a time.

    Args:
        store: Has the requests.
        model: The served model's name.
        worker_id: The worker's id.
        engine: Runs the requests.
        preparation: Makes requests of the engine, as for lines of a batch.
        text: Makes pieces of text.
        sender: Gets everything that happens to a request.
        runs: The requests that this worker runs.
        active: Says whether a shard runs isolated. Then no request is taken, because it might crash the worker.
        link: Gets the outcome of each call to the store.
        max_sequences: Takes requests while fewer sequences of them run.
        stopped: Returns True once the worker takes no more requests.
        now: Returns the time by the store's clock, in seconds since the epoch.
    """

    store: OnlineWorkerSide
    model: str
    worker_id: str
    engine: InferenceEngine
    preparation: Preparation
    text: TextSource
    sender: ReplySender
    runs: OnlineRuns
    active: ActiveShards
    link: StoreLink
    max_sequences: int
    stopped: Callable[[], bool]
    now: Callable[[], float]
    _numbers: count[int] = field(default_factory=count)

    def take(self) -> None:
        """Wait for a request or an order, and carry it out. Returns without one after a while."""
        has_place = self.runs.num_sequences < self.max_sequences
        wants = has_place and not self.stopped() and not self.active.isolating
        try:
            seconds = WAIT_SECONDS if wants or self.stopped() else FULL_WAIT_SECONDS
            taken = self.store.take(self.model, self.worker_id, seconds, requests=wants)
        except RecordDamaged as error:
            log.error("an interactive request is dropped: %s", error.message)
            return
        except (StoreUnavailable, StoreFull) as error:
            self.link.failed(error)
            self.active.stopping.wait(TROUBLE_SECONDS)
            return
        except Exception:
            self.active.stopping.wait(TROUBLE_SECONDS)
            raise
        if isinstance(taken, Abort):
            self.abort(taken.request_id)
        elif taken is not None:
            self._begin_or_fail(taken)

    def abort(self, request_id: str) -> None:
        """End all attempts at a request, because nobody waits for it."""
        for run in self.runs.of(request_id):
            self.sender.put(Closed(run, None))

    def _begin_or_fail(self, request: OnlineRequest) -> None:
        if self.stopped():
            self.sender.put(Unrunnable(request.server, Gone(request.id, request.attempt)))
        elif self.now() > request.deadline_at:
            self._fail(request, ErrorCode.EXPIRED, LATE)
        else:
            try:
                self._begin(request)
            except Exception as error:
                log.exception("request %s could not be begun", request.id)
                self._fail(request, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    def _fail(self, request: OnlineRequest, code: ErrorCode, message: str) -> None:
        completion = Completion.failed_prompt(request.prompt, code, message)
        self.sender.put(Unrunnable(request.server, End(request.id, request.attempt, completion)))

    def _begin(self, request: OnlineRequest) -> None:
        self.abort(request.id)  # an earlier attempt, which the server has given up
        began_at = time.monotonic()
        prepared = self.preparation.prepare([request.prompt], self._job(request), group=GROUP, on_token=_ignored)
        for completion in prepared.refused:
            if completion.error is not None:
                refusal = Refused(request.id, request.attempt, completion.error)
                self.sender.put(Unrunnable(request.server, refusal))
        for prompt, requests in prepared.runnable:
            run = self._run(request, requests)
            self.runs.add(run)
            self._submit(run, Line(prompt, (), len(run.requests)))
            log.debug("request=%s attempt=%d seconds=%.3f", request.id, request.attempt, time.monotonic() - began_at)

    def _job(self, request: OnlineRequest) -> NewJob:
        """Return a job of this one line. Its id becomes the flow of the request in the engine."""
        return NewJob(
            id=f"online-{next(self._numbers)}",
            model=self.model,
            format="openai",
            defaults=NOTHING_SAID,
            seed=0,  # never used, because the request has its own
            num_lines=1,
            shard_size=1,
            source=request.id,
            created_at=self.now(),
        )

    def _run(self, request: OnlineRequest, requests: tuple[Request, ...]) -> OnlineRun:
        prompt = request.prompt
        calls = self.text.call_start_id if prompt.tools is not None and prompt.tool_choice != "none" else None
        pieces = [
            TextPieces(each, self.text.tokenizer, self.text.eos_token_ids, calls)
            for each in (requests if request.stream else ())
        ]
        return OnlineRun(request, requests, pieces)

    def _submit(self, run: OnlineRun, line: Line) -> None:
        listeners = [
            self._listener(run, index) if run.pieces and request.scoring is None else None
            for index, request in enumerate(run.requests)
        ]
        urgent = [
            replace(
                request, urgent=True, on_token=listener, on_logprobs=listener if request.logprobs is not None else None
            )
            for request, listener in zip(run.requests, listeners, strict=True)
        ]
        run.line = replace(line, tickets=tuple(self.engine.submit_many(urgent)))
        left = count(len(urgent) - 1, -1)
        for index, ticket in enumerate(run.line.tickets):
            if run.pieces and ticket.request.scoring is not None:
                ticket.future.add_done_callback(partial(self._prompt_scored, run, index))
            ticket.future.add_done_callback(lambda _: None if next(left) else self.sender.put(Finished(run)))
        if run.closed:  # while its requests went into the engine
            self.engine.abort_many(run.line.tickets)
        self.sender.put(Begun(run, self.text.tokenizer.token_bytes))

    def _prompt_scored(self, run: OnlineRun, index: int, _: Future[RequestOutput]) -> None:
        self.sender.put(PromptScored(run, index))

    def _listener(self, run: OnlineRun, index: int) -> _Listener:
        """Return the function that the engine calls for each new token. The first token does not wait for others."""
        numbers = count()

        def listen(token_id: int, logprobs: TokenLogprobs | None = None) -> None:
            self.sender.put(NewToken(run, index, token_id, logprobs), waits=next(numbers) > 0)

        return listen


class _Listener(Protocol):
    """Listens to the tokens of a request, with their log-probabilities if the request asks for them."""

    def __call__(self, token_id: int, logprobs: TokenLogprobs | None = None, /) -> None:
        """Hear a new token. Called on the engine's thread."""


def _ignored(_token_id: int) -> None:
    """Replaced before the request reaches the engine."""
