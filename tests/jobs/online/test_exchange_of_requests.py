"""Requests reach one worker each, in their order, and replies reach the server that asked."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from msgspec import json

from jobs.errors import RecordDamaged
from jobs.online import online_keys
from jobs.online.messages import Abort, AnyReply, End, Gone, OnlineRequest, Piece, Refused, ReplyEntry, Taken
from jobs.online.online_store import BEGIN, SERVER_SECONDS, WORKER_SECONDS
from jobs.online.redis_online import RedisOnline
from jobs.records.completion import Completion, ErrorCode, Latency, LineError, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from jobs.stores.redis.connection.server import RedisServer
from tests.jobs.conftest import note_commands
from tests.jobs.online.conftest import Exchange

SHORT, LONG = 0.01, 60.0
CHAT = Prompt(
    0,
    "req_1",
    messages=({"role": "user", "content": "Grüße, 世界 \N{GRINNING FACE}"},),
    endpoint="chat",
    settings=SamplingSettings(max_tokens=8, seed=7, stop=("\n",)),
    n=2,
)
COMPLETION = Completion(
    0,
    "req_1",
    text="85",
    finish_reason=FinishReason.STOP,
    usage=Usage(5, 2),
    latency=Latency(3.0, 1.0, 4.0),
)


def request_of(request_id: str, **changes: Any) -> OnlineRequest:
    return OnlineRequest(request_id, "server-1", "demo", CHAT, 1_800_000_000.0, **changes)


def entry_of(number: int, *replies: AnyReply, worker: str = "worker-1") -> ReplyEntry:
    return ReplyEntry(worker, number, replies)


def test_requests_are_taken_once_each_in_the_order_of_their_arrival(exchange: Exchange) -> None:
    first, second = request_of("req_1"), request_of("req_2", stream=True, project="p")
    exchange.store.push(first)
    exchange.store.push(second)
    assert exchange.store.waiting("demo") == 2
    taken = [exchange.store.take("demo", worker, SHORT) for worker in ("worker-1", "worker-2", "worker-1")]
    assert taken == [first, second, None]
    assert exchange.store.waiting("demo") == 0


def test_a_request_is_accepted_only_while_a_worker_serves_its_model(exchange: Exchange) -> None:
    request = request_of("req_1")
    assert exchange.store.accept(request, 3) == "no_worker"
    exchange.store.report_worker("demo", "worker-1")
    assert exchange.store.accept(request, 3) == "accepted"
    exchange.pass_seconds(WORKER_SECONDS)
    assert exchange.store.accept(request_of("req_2"), 3) == "no_worker"
    assert [exchange.store.take("demo", "worker-1", SHORT) for _ in range(2)] == [request, None]


def test_no_more_requests_are_accepted_than_may_wait(exchange: Exchange) -> None:
    exchange.store.report_worker("demo", "worker-1")
    found = [exchange.store.accept(request_of(f"req_{number}"), 2) for number in range(3)]
    assert found == ["accepted", "accepted", "queue_full"]
    assert exchange.store.waiting("demo") == 2


def test_a_server_whose_request_is_accepted_is_alive(exchange: Exchange) -> None:
    exchange.store.report_worker("demo", "worker-1")
    exchange.store.accept(request_of("req_1"), 2)
    assert exchange.store.live_servers({"server-1"}) == {"server-1"}


def test_a_request_is_accepted_in_one_round_trip(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisOnline(RedisServer(client))
    store.report_worker("demo", "worker-1")
    client.script_flush()
    assert store.accept(request_of("req_1"), 9) == "accepted"  # the server has the script from now on
    sent = note_commands(monkeypatch)
    assert store.accept(request_of("req_2"), 9) == "accepted"
    assert len(sent) == 1


def test_a_further_attempt_comes_before_all_others(exchange: Exchange) -> None:
    exchange.store.push(request_of("req_1"))
    again = request_of("req_2", attempt=1)
    exchange.store.push(again, front=True)
    assert exchange.store.take("demo", "worker-1", SHORT) == again


def test_a_worker_gets_requests_of_its_own_model_only(exchange: Exchange) -> None:
    exchange.store.push(request_of("req_1"))
    assert exchange.store.take("other", "worker-1", SHORT) is None
    assert exchange.store.waiting("other") == 0


def test_orders_come_before_requests_and_only_to_their_worker(exchange: Exchange) -> None:
    exchange.store.push(request_of("req_1"))
    exchange.store.abort("demo", "worker-1", "req_0")
    assert exchange.store.take("demo", "worker-2", SHORT) == request_of("req_1")
    assert exchange.store.take("demo", "worker-1", SHORT) == Abort("req_0")
    assert exchange.store.take("demo", "worker-1", SHORT) is None


def test_a_full_worker_gets_orders_but_no_request(exchange: Exchange) -> None:
    exchange.store.push(request_of("req_1"))
    assert exchange.store.take("demo", "worker-1", SHORT, requests=False) is None
    exchange.store.abort("demo", "worker-1", "req_0")
    assert exchange.store.take("demo", "worker-1", SHORT, requests=False) == Abort("req_0")
    assert exchange.store.waiting("demo") == 1


def test_a_request_that_waits_can_be_withdrawn(exchange: Exchange) -> None:
    waits, taken = request_of("req_1"), request_of("req_2")
    exchange.store.push(taken)
    exchange.store.push(waits)
    exchange.store.take("demo", "worker-1", SHORT)
    assert exchange.store.is_waiting(waits)
    assert not exchange.store.is_waiting(taken)
    assert exchange.store.withdraw(waits)
    assert not exchange.store.withdraw(waits)
    assert not exchange.store.withdraw(taken)
    assert exchange.store.waiting("demo") == 0


def test_only_the_attempt_that_waits_counts_as_waiting(exchange: Exchange) -> None:
    exchange.store.push(request_of("req_1", attempt=1))
    assert not exchange.store.is_waiting(request_of("req_1"))
    assert exchange.store.is_waiting(request_of("req_1", attempt=1))


def test_a_worker_that_waits_gets_a_request_when_it_comes(exchange: Exchange) -> None:
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(exchange.store.take("demo", "worker-1", LONG)))
    waiter.start()
    exchange.store.push(request_of("req_1"))
    waiter.join(LONG)
    assert found == [request_of("req_1")]


def test_replies_reach_their_server_whole_and_in_order(exchange: Exchange) -> None:
    said = [
        entry_of(1, Taken("req_1", 0), Refused("req_2", 1, LineError(ErrorCode.PROMPT_TOO_LONG, "long"), "messages")),
        entry_of(2, Piece("req_1", 0, 3, "Grüße \N{GRINNING FACE}", 1, "reasoning")),
        entry_of(3, End("req_1", 0, COMPLETION), Gone("req_3", 2)),
        entry_of(1, End("req_4", 0, Completion.failed(0, "req_4", ErrorCode.EXPIRED, "late")), worker="worker-2"),
    ]
    for entry in said:
        exchange.store.reply("server-1", entry)
    exchange.store.reply("server-2", entry_of(1, Taken("req_9", 0)))
    assert [entry for _, entry in exchange.store.replies("server-1", BEGIN, SHORT)] == said


def test_a_reader_goes_on_after_the_entry_that_it_knows(exchange: Exchange) -> None:
    exchange.store.reply("server-1", entry_of(1, Taken("req_1", 0)))
    place = exchange.store.replies("server-1", BEGIN, SHORT)[-1].place
    assert exchange.store.replies("server-1", place, SHORT) == []
    exchange.store.reply("server-1", entry_of(2, Gone("req_1", 0)))
    assert [entry.number for _, entry in exchange.store.replies("server-1", place, SHORT)] == [2]


def test_a_reader_that_waits_gets_replies_when_they_come(exchange: Exchange) -> None:
    found: list[int] = []
    read = exchange.store.replies
    waiter = threading.Thread(target=lambda: found.extend(e.entry.number for e in read("server-1", BEGIN, LONG)))
    waiter.start()
    exchange.store.reply("server-1", entry_of(1, Taken("req_1", 0)))
    waiter.join(LONG)
    assert found == [1]


def test_a_server_that_does_not_report_is_not_alive(exchange: Exchange) -> None:
    exchange.store.report_server("server-1")
    exchange.store.report_server("server-2")
    exchange.pass_seconds(SERVER_SECONDS - 1)
    exchange.store.report_server("server-2")
    assert exchange.store.live_servers(["server-1", "server-2", "server-3"]) == {"server-1", "server-2"}
    exchange.pass_seconds(1)
    assert exchange.store.live_servers(["server-1", "server-2"]) == {"server-2"}
    assert exchange.store.live_servers([]) == set()


def test_a_worker_that_does_not_report_or_stops_is_not_alive(exchange: Exchange) -> None:
    for worker in ("worker-3", "worker-2", "worker-1"):
        exchange.store.report_worker("demo", worker)
    exchange.store.report_worker("other", "worker-9")
    assert exchange.store.live_workers("demo") == ["worker-1", "worker-2", "worker-3"]
    exchange.store.forget_worker("demo", "worker-2")
    exchange.pass_seconds(WORKER_SECONDS - 1)
    exchange.store.report_worker("demo", "worker-3")
    exchange.pass_seconds(1)
    assert exchange.store.live_workers("demo") == ["worker-3"]


def test_a_request_without_a_seed_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="req_1 has no seed"):
        OnlineRequest("req_1", "server-1", "demo", Prompt(0, "req_1", text="x"), 0.0)


def test_a_damaged_request_is_taken_once_and_named(client: redis.Redis) -> None:
    store = RedisOnline(RedisServer(client))
    client.rpush(online_keys.waiting("demo"), b"{")
    with pytest.raises(RecordDamaged, match="waiting"):
        store.take("demo", "worker-1", SHORT)
    assert store.take("demo", "worker-1", SHORT) is None


def test_a_damaged_entry_is_skipped_and_noted(client: redis.Redis) -> None:
    store = RedisOnline(RedisServer(client))
    client.xadd(online_keys.replies("server-1"), {"entry": b"[]"})
    store.reply("server-1", entry_of(2, Taken("req_1", 0)))
    assert [entry.number for _, entry in store.replies("server-1", BEGIN, SHORT)] == [2]
    assert store.damage.count == 1


def test_nothing_of_a_dead_process_stays_in_redis_for_ever(client: redis.Redis) -> None:
    store = RedisOnline(RedisServer(client))
    store.abort("demo", "worker-1", "req_1")
    store.reply("server-1", entry_of(1, Taken("req_1", 0)))
    store.report_server("server-1")
    store.report_worker("demo", "worker-1")
    assert all(client.pttl(key) > 0 for key in client.scan_iter())


def test_messages_are_readable_json() -> None:
    said = json.decode(json.encode(entry_of(1, Piece("req_1", 0, 0, "85"))))
    piece = {"is": "piece", "request_id": "req_1", "attempt": 0, "offset": 0, "text": "85"}
    assert said == {"worker": "worker-1", "number": 1, "replies": [piece]}
