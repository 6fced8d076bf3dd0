"""A real worker answers interactive requests, with the texts that lines of a batch have."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.online.messages import AnyReply, End, OnlineRequest, Piece, Refused, Taken
from jobs.online.online_store import BEGIN
from jobs.online.redis_online import RedisOnline
from jobs.queue.celery_hints import CeleryHints
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.connect import connect_server
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import WorkerUnderTest

PATIENCE_SECONDS = 60.0
QUESTION = ({"role": "user", "content": "What is 37 + 48?"},)


class Asker:
    """What an HTTP process does: it pushes requests, reads replies, and reports that it is alive."""

    def __init__(self, url: str, name: str) -> None:
        self.store = RedisOnline(connect_server(url))
        self.name = name
        self._place = BEGIN
        self._numbers: dict[str, int] = {}
        self._replies: list[AnyReply] = []
        self.takers: dict[str, str] = {}  # request -> the worker that took it last
        self._stopped = threading.Event()
        self._reporter = threading.Thread(target=self._report, daemon=True)
        self._reporter.start()

    def _report(self) -> None:
        while not self._stopped.is_set():
            self.store.report_server(self.name)
            self._stopped.wait(1.0)

    def close(self) -> None:
        self._stopped.set()
        self._reporter.join(PATIENCE_SECONDS)

    def push(self, prompt: Prompt, *, stream: bool = True, attempt: int = 0) -> OnlineRequest:
        deadline = self.store.now() + 10 * PATIENCE_SECONDS
        request = OnlineRequest(prompt.id, self.name, "demo", prompt, deadline, attempt, stream)
        self.store.push(request, front=attempt > 0)
        return request

    def replies(self, request: OnlineRequest, last: type[AnyReply] | tuple[type[AnyReply], ...]) -> list[AnyReply]:
        """All replies to a request, up to one of a kind."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [
                reply for reply in self._replies if (reply.request_id, reply.attempt) == (request.id, request.attempt)
            ]
            if any(isinstance(reply, last) for reply in found):
                return found
            assert time.monotonic() < until, found
            for place, entry in self.store.replies(self.name, self._place, 1.0):
                assert entry.number == self._numbers.get(entry.worker, 0) + 1
                self._numbers[entry.worker] = entry.number
                self._place = place
                self._replies += entry.replies
                self.takers |= {reply.request_id: entry.worker for reply in entry.replies if isinstance(reply, Taken)}

    def completion(self, request: OnlineRequest) -> Completion:
        """The completion of a request that is taken, with whose choices its pieces agree."""
        first, *pieces, end = self.replies(request, End)
        assert isinstance(first, Taken) and isinstance(end, End)
        texts: dict[tuple[int, str], str] = {}
        for piece in pieces:
            assert isinstance(piece, Piece) and request.stream
            before = texts.get((piece.choice, piece.kind), "")
            assert piece.offset == len(before) and piece.text
            texts[piece.choice, piece.kind] = before + piece.text
        if request.stream:
            choices = end.completion.choices
            assert [texts.get((number, "content"), "") for number in range(len(choices))] == [c.text for c in choices]
            assert [texts.get((number, "reasoning")) for number in range(len(choices))] == [
                choice.reasoning or None for choice in choices
            ]
        return end.completion


@pytest.fixture
def asker(valkey: ValkeyProcess, worker: WorkerUnderTest, request: pytest.FixtureRequest) -> Iterator[Asker]:
    asker = Asker(valkey.url, request.node.name)
    yield asker
    asker.close()


def lines() -> list[Prompt]:
    """Chats and texts with everything that changes how text may be sent."""

    def settings(**more: Any) -> SamplingSettings:
        return SamplingSettings(**({"max_tokens": 24, "seed": 5, "temperature": 0.8} | more))

    text = "Grüße, 世界 \N{GRINNING FACE}: 1, 2, 3,"
    return [
        Prompt(0, "chat", messages=QUESTION, endpoint="chat", settings=settings(temperature=0.0)),
        Prompt(1, "sampled", messages=QUESTION, endpoint="chat", settings=settings(), n=2),
        Prompt(2, "greedy-twice", messages=QUESTION, endpoint="chat", settings=settings(temperature=0.0), n=2),
        Prompt(3, "stops", text=text, settings=settings(stop=("4", "e", " t"), ignore_eos=True)),
        Prompt(4, "bytes", text=text, settings=settings(temperature=3.0, ignore_eos=True, max_tokens=60)),
        Prompt(5, "ids", token_ids=(5, 6, 7), settings=settings(include_stop_str_in_output=True, stop=("a", "\n"))),
    ]


def _results_of_a_batch(store: JobStore, url: str, prompts: list[Prompt]) -> list[Completion]:
    spec = NewJob(
        "job-online",
        "demo",
        "native",
        SamplingSettings(),
        5,
        len(prompts),
        len(prompts),
        "file",
        created_at=time.time(),
    )
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts)
    CeleryHints(url).send("demo", store.submissions.open(spec.id))
    until = time.monotonic() + PATIENCE_SECONDS
    while not store.jobs.get(spec.id).state.ended:
        assert time.monotonic() < until
        time.sleep(0.02)  # another process ends the job
    return list(store.jobs.results(spec.id))


def test_streamed_texts_are_those_of_a_batch(asker: Asker, store: JobStore, valkey: ValkeyProcess) -> None:
    prompts = lines()
    requests = [asker.push(prompt) for prompt in prompts]
    streamed = [asker.completion(request).choices for request in requests]
    assert streamed == [completion.choices for completion in _results_of_a_batch(store, valkey.url, prompts)]


def test_a_second_attempt_gives_the_same_text(asker: Asker) -> None:
    prompt = Prompt(0, "again", messages=QUESTION, settings=SamplingSettings(max_tokens=20, seed=3, temperature=1.0))
    first, second = asker.push(prompt), asker.push(prompt, stream=False, attempt=1)
    replies = asker.replies(second, End)
    assert [type(reply) for reply in replies] == [Taken, End]
    assert asker.completion(second).choices[0].text
    again = asker.push(prompt, attempt=2)
    assert asker.completion(again).choices == asker.completion(second).choices
    assert asker.replies(first, Taken)[0] == Taken("again", 0)


def test_a_prompt_that_is_too_long_is_refused(asker: Asker) -> None:
    prompt = Prompt(0, "long", text="a b " * 100_000, settings=SamplingSettings(max_tokens=5, seed=1))
    (refused,) = asker.replies(asker.push(prompt), Refused)
    assert isinstance(refused, Refused) and refused.error.code is ErrorCode.PROMPT_TOO_LONG


def test_an_abort_frees_places_and_pages(asker: Asker, store: JobStore, worker: WorkerUnderTest) -> None:
    settings = SamplingSettings(max_tokens=1_900, seed=1, ignore_eos=True)
    request = asker.push(Prompt(0, "endless", text="Once", settings=settings, n=16))
    asker.replies(request, Piece)
    assert asker.takers[request.id] in asker.store.live_workers("demo")
    asker.store.abort("demo", asker.takers[request.id], request.id)
    worker.wait_for_report(store, lambda report: report.running == 0 and report.kv_cache_usage == 0)
    assert not any(isinstance(reply, End) for reply in asker.replies(request, Piece))
