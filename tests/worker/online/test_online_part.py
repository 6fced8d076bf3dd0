"""A worker takes interactive requests, answers each in its order, and ends those for which nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.request import RequestTooLong
from jobs.errors import InvalidInput, StoreUnavailable
from jobs.online.memory_online import MemoryOnline
from jobs.online.messages import AnyReply, End, Gone, OnlineRequest, Piece, Refused, Taken
from jobs.online.online_store import BEGIN, SERVER_SECONDS
from jobs.records.completion import ErrorCode
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.settings import Settings
from testing.environment.hand_clock import HandClock
from tests.worker.fake_engine import FakeEngine
from tests.worker.fake_tokenizer import FakeGrammars, FakeTokenizer
from tests.worker.shard_bench import CARD, MODEL, PATIENCE_SECONDS
from worker.facts import WorkerFacts
from worker.online.assembly import ServedModel, online_part
from worker.online.online_intake import TextSource
from worker.online.online_part import TRUST_SECONDS, OnlinePart, max_sequences
from worker.shards.active_shards import ActiveShard, ActiveShards
from worker.shards.in_flight import InFlight
from worker.shards.preparation import Preparation
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

SERVER, WORKER = "server-1", "worker-1"


class CharStream:
    """Each id is a code point."""

    is_complete = True

    def push(self, token_id: int) -> str:
        return chr(token_id)


class CharTokenizer(FakeTokenizer):
    def token_bytes(self, token_id: int, /) -> bytes:
        return chr(token_id).encode()

    def stream(self, skip_special_tokens: bool = True, /) -> CharStream:
        return CharStream()


class FlakyOnline(MemoryOnline):
    """Does not answer while `down`."""

    down = False

    def live_servers(self, servers: Any) -> set[str]:
        if self.down:
            raise StoreUnavailable("gone")
        return super().live_servers(servers)


class Bench:
    """The part over a store in memory and an engine in the test's hands. The test itself does intake and watch."""

    def __init__(self, max_num_seqs: int = 8) -> None:
        self.clock = HandClock()  # only the part's own thread of replies runs
        self.store = FlakyOnline(self.clock)
        self.engine = FakeEngine()
        self.engine.hold()
        self.active = ActiveShards()
        served = ServedModel(
            self.engine,
            Preparation(CharTokenizer(), CARD, FakeGrammars()),
            TextSource(CharTokenizer(), (), None),
            None,
            max_num_seqs,
        )
        facts = WorkerFacts(WORKER, MODEL, "cpu", "float32", "none")
        link = StoreLink(self.active.stopping)
        part = online_part(Settings(online_share=0.5), self.store, link, self.active, facts, served)
        assert part is not None
        self.part: OnlinePart = part
        part.monotonic = self.clock
        part.clock.set()
        part.sender.start()
        self.store.report_server(SERVER)
        self._place = BEGIN

    def push(self, request_id: str, text: str = "olleh", *, stream: bool = False, **changes: Any) -> OnlineRequest:
        said = {"deadline_at": self.clock.seconds + 600, "attempt": 0} | changes
        prompt = Prompt(0, request_id, text=text, settings=SamplingSettings(max_tokens=100, seed=1, temperature=0.5))
        request = OnlineRequest(request_id, SERVER, MODEL, prompt, stream=stream, **said)
        self.store.push(request)
        return request

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.part.clock.set()

    def take(self) -> None:
        self.part.intake.take()

    def replies(self, until: Callable[[list[AnyReply]], bool]) -> list[AnyReply]:
        """All replies, up to the entry with which they are as wanted."""
        found: list[AnyReply] = []
        while not until(found):
            entries = self.store.replies(SERVER, self._place, PATIENCE_SECONDS)
            assert entries, found
            for place, entry in entries:
                self._place = place
                assert (entry.worker, entry.number) == (WORKER, int(place))
                found += entry.replies
        return found


def has(kind: type[AnyReply], count: int = 1) -> Callable[[list[AnyReply]], bool]:
    return lambda replies: sum(isinstance(reply, kind) for reply in replies) >= count


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.part.sender.stop(PATIENCE_SECONDS)


def test_a_streamed_request_is_taken_and_its_pieces_are_its_text(bench: Bench) -> None:
    bench.push("req_1", stream=True)
    bench.take()
    assert bench.replies(has(Taken)) == [Taken("req_1", 0)]
    bench.engine.finish()
    *pieces, end = bench.replies(has(End))
    assert isinstance(end, End)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == end.completion.text == "hello"
    assert [reply.offset for reply in pieces if isinstance(reply, Piece)][:1] == [0]
    assert bench.part.figures().running == 0


def test_without_a_stream_only_the_end_follows(bench: Bench) -> None:
    bench.push("req_1", attempt=2)
    bench.take()
    bench.engine.finish()
    taken, end = bench.replies(has(End))
    assert taken == Taken("req_1", 2)
    assert isinstance(end, End) and end.attempt == 2
    assert bench.engine.submitted[0].urgent and bench.engine.submitted[0].on_token is None


def test_a_request_that_cannot_run_is_refused_and_never_taken(bench: Bench) -> None:
    bench.push("req_1", text="x" * 2_000)
    bench.take()
    (refused,) = bench.replies(has(Refused))
    assert isinstance(refused, Refused) and refused.error.code is ErrorCode.PROMPT_TOO_LONG
    assert bench.part.figures().running == 0


def test_a_request_that_the_engine_refuses_is_refused_too(bench: Bench) -> None:
    bench.engine.finish_from_now_on()
    bench.engine.failures[tuple(map(ord, "abc"))] = RequestTooLong("too long")
    bench.push("req_1", text="abc")
    bench.take()
    assert [type(reply) for reply in bench.replies(has(Refused))] == [Refused]


def test_an_abort_frees_the_engine_and_says_nothing(bench: Bench) -> None:
    bench.push("req_1", stream=True)
    bench.take()
    bench.store.abort(MODEL, WORKER, "req_1")
    bench.take()
    bench.engine.wait_for_aborted(1)
    bench.push("req_2")
    bench.take()
    assert bench.replies(has(Taken, 2)) == [Taken("req_1", 0), Taken("req_2", 0)]


def test_a_worker_takes_requests_up_to_its_share(bench: Bench) -> None:
    for number in range(6):
        bench.push(f"req_{number}")
        bench.take()
    assert (bench.part.runs.num_sequences, bench.store.waiting(MODEL)) == (4, 2)
    bench.engine.finish(1)
    bench.replies(has(End))
    bench.take()
    assert bench.store.waiting(MODEL) == 1


def test_no_request_is_taken_beside_an_isolated_shard(bench: Bench) -> None:
    bench.push("req_1")
    with bench.active.entered_isolated(ActiveShard(None, InFlight(bench.engine))):
        bench.take()
        assert bench.store.waiting(MODEL) == 1
    bench.take()
    assert bench.store.waiting(MODEL) == 0


def test_a_new_attempt_replaces_an_earlier_one_on_the_same_worker(bench: Bench) -> None:
    for attempt in (0, 1):
        bench.push("req_1", attempt=attempt)
        bench.take()
    bench.engine.wait_for_aborted(1)
    bench.engine.finish()
    replies = bench.replies(has(End))
    assert [type(reply).__name__ + str(reply.attempt) for reply in replies] == ["Taken0", "Taken1", "End1"]


def test_a_late_request_ends_as_expired(bench: Bench) -> None:
    bench.push("req_1", deadline_at=bench.clock.seconds + 1)
    bench.take()
    bench.advance(2)
    bench.push("req_2", deadline_at=bench.clock.seconds - 1)
    bench.take()
    bench.part.watch()
    ends = [reply for reply in bench.replies(has(End, 2)) if isinstance(reply, End)]
    assert {end.request_id: end.completion.error.code for end in ends if end.completion.error} == {
        "req_1": ErrorCode.EXPIRED,
        "req_2": ErrorCode.EXPIRED,
    }
    bench.engine.wait_for_aborted(1)


def test_requests_of_a_server_that_does_not_report_are_dropped(bench: Bench) -> None:
    bench.push("req_1")
    bench.take()
    bench.part.watch()
    bench.advance(SERVER_SECONDS)
    bench.part.watch()
    bench.engine.wait_for_aborted(1)


def test_after_an_outage_servers_have_time_to_report_again(bench: Bench) -> None:
    bench.push("req_1")
    bench.take()
    bench.store.down = True
    bench.advance(SERVER_SECONDS)
    bench.part.watch()
    bench.store.down = False
    bench.part.watch()
    bench.store.report_server(SERVER)
    bench.advance(TRUST_SECONDS)
    bench.part.watch()
    bench.engine.finish()
    bench.replies(has(End))
    assert bench.engine.aborted == []


def test_a_worker_that_stops_gives_its_requests_to_others(bench: Bench) -> None:
    bench.part.watch()
    assert bench.store.live_workers(MODEL) == [WORKER]
    bench.push("req_1", stream=True)
    bench.take()
    stopper = threading.Thread(target=bench.part.hand_over)
    stopper.start()
    assert bench.replies(has(Gone)) == [Taken("req_1", 0), Gone("req_1", 0)]
    stopper.join(PATIENCE_SECONDS)
    bench.engine.wait_for_aborted(1)
    assert bench.store.live_workers(MODEL) == []


def test_a_request_taken_while_the_worker_stops_goes_to_another_worker(bench: Bench) -> None:
    request = bench.push("req_1")
    bench.part.stopping.set()
    bench.part.intake._begin_or_fail(request)
    assert bench.replies(has(Gone)) == [Gone("req_1", 0)]


def test_a_started_worker_is_known_to_servers_before_its_threads_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread in (Periodic, type(bench.part.sender)):
        monkeypatch.setattr(thread, "start", lambda _: None)
    assert bench.store.accept(bench.push("before"), 10) == "no_worker"
    bench.part.start()
    assert bench.store.accept(bench.push("after"), 10) == "accepted"


def test_a_share_of_nothing_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="`online_share` is 0; it must be above 0"):
        max_sequences(0.0, 8)
