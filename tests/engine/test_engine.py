from __future__ import annotations

import threading
from concurrent.futures import CancelledError, wait

import pytest

from engine.engine import Engine
from engine.request import EngineDead, Request, RequestInvalid, RequestTooLong, Ticket
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import EOS, ByteTokenizer, CacheRunner, GatedRunner, TableRunner
from tests.engine.conftest import MakeEngine

PARAMS = SamplingParams(max_tokens=20)
HELLO = (1, 2, 3)


def test_requests_of_many_threads_all_get_their_own_completion(make_engine: MakeEngine) -> None:
    table: dict[tuple[int, ...], bytes] = {(number, 7): b"%d" % number for number in range(200)}
    engine = make_engine(TableRunner(table))
    tickets: dict[int, Ticket] = {}

    def submit(start: int) -> None:
        for number in range(start, 200, 4):
            tickets[number] = engine.submit(Request((number, 7), PARAMS))

    threads = [threading.Thread(target=submit, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: ticket.future.result(120).text for number, ticket in tickets.items()} == {
        number: str(number) for number in range(200)
    }


def test_a_prompt_that_is_too_long_fails_alone(make_engine: MakeEngine) -> None:
    engine = make_engine(TableRunner({HELLO: b"hi"}), max_model_len=10)
    good, bad, last = engine.submit_many(
        [Request(HELLO, PARAMS), Request((1,) * 10, PARAMS), Request((1,) * 9, PARAMS)]
    )
    with pytest.raises(RequestTooLong, match="10 tokens; prompt and completion together may have 10"):
        bad.future.result(120)
    assert good.future.result(120).text == "hi"
    assert last.future.result(120).token_ids == (EOS,)


def test_a_prompt_that_never_fits_the_cache_fails_alone(make_engine: MakeEngine) -> None:
    engine = make_engine(TableRunner({}), max_model_len=1000, num_pages=3)
    with pytest.raises(RequestTooLong, match="may have 8"):
        engine.submit(Request((1,) * 8, PARAMS)).future.result(120)
    assert engine.submit(Request((1,) * 7, PARAMS)).future.result(120).token_ids == (EOS,)


@pytest.mark.parametrize(("token_ids", "says"), [((), "no tokens"), ((5, 260), "id 260"), ((5, -1), "id -1")])
def test_a_prompt_that_is_no_prompt_fails_alone(make_engine: MakeEngine, token_ids: tuple[int, ...], says: str) -> None:
    engine = make_engine(TableRunner({HELLO: b"hi"}))
    with pytest.raises(RequestInvalid, match=says):
        engine.submit(Request(token_ids, PARAMS)).future.result(120)
    assert engine.submit(Request(HELLO, PARAMS)).future.result(120).text == "hi"


def test_an_aborted_request_is_cancelled_and_its_pages_are_free(make_engine: MakeEngine) -> None:
    runner = GatedRunner(TableRunner({HELLO: b"x" * 19, (9,): b"ok"}))
    engine = make_engine(runner)
    ticket = engine.submit(Request(HELLO, PARAMS))
    runner.entered.acquire()
    assert engine.utilization().running == 1
    engine.abort(ticket)
    other = engine.submit(Request((9,), PARAMS))
    runner.open()
    with pytest.raises(CancelledError):
        ticket.future.result(120)
    assert other.future.result(120).text == "ok"
    engine.shutdown()
    assert engine.utilization().kv_cache_usage == 0
    assert (engine.utilization().running, engine.utilization().waiting) == (0, 0)


def test_aborting_what_has_finished_changes_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine(TableRunner({HELLO: b"hi"}))
    ticket = engine.submit(Request(HELLO, PARAMS))
    ticket.future.result(120)
    engine.abort(ticket)
    assert engine.submit(Request(HELLO, PARAMS)).future.result(120).text == "hi"
    assert ticket.future.result().text == "hi"


def test_a_step_that_raises_fails_every_ticket_and_reports_the_death(make_engine: MakeEngine) -> None:
    runner = GatedRunner(BrokenRunner({}))
    deaths: list[BaseException] = []
    dead = threading.Event()

    def on_death(error: BaseException) -> None:
        deaths.append(error)
        dead.set()

    engine = make_engine(runner, on_death=on_death)
    running = engine.submit(Request(HELLO, PARAMS))
    runner.entered.acquire()
    submitted = engine.submit(Request(HELLO, PARAMS))
    runner.open()
    for ticket in (running, submitted):
        with pytest.raises(EngineDead, match="MemoryError: no memory left"):
            ticket.future.result(120)
    assert dead.wait(60)
    assert [type(error) for error in deaths] == [MemoryError]
    with pytest.raises(EngineDead):
        engine.submit(Request(HELLO, PARAMS)).future.result(120)


class BrokenRunner(TableRunner):
    def run(self, batch: object) -> list[int]:
        raise MemoryError("no memory left")


def test_a_shutdown_cancels_what_is_unfinished(make_engine: MakeEngine) -> None:
    runner = GatedRunner(TableRunner({}))
    engine = make_engine(runner, max_model_len=4000, num_pages=10_000)
    endless = SamplingParams(max_tokens=4000, ignore_eos=True)
    tickets = engine.submit_many([Request(HELLO, endless)] * 100)
    runner.entered.acquire()
    runner.open()
    engine.shutdown()
    done, waiting = wait([ticket.future for ticket in tickets], timeout=60)
    assert not waiting
    assert any(future.cancelled() for future in done)
    assert engine.utilization().kv_cache_usage == 0
    with pytest.raises(CancelledError):
        engine.submit(Request(HELLO, PARAMS)).future.result(120)


def test_an_engine_that_never_started_can_be_shut_down() -> None:
    engine = Engine(
        scheduler=Scheduler(PageAllocator(9, 4), SchedulingPolicy(4, 16)),
        runner=TableRunner({}),
        detokenizer=ByteTokenizer(),
        eos_token_ids=(EOS,),
        max_model_len=16,
    )
    ticket = engine.submit(Request(HELLO, PARAMS))
    engine.shutdown()
    assert ticket.future.cancelled()


def test_each_new_token_is_announced_as_it_comes(make_engine: MakeEngine) -> None:
    heard: list[int] = []
    engine = make_engine(TableRunner({HELLO: b"hi"}))
    engine.submit(Request(HELLO, PARAMS, on_token=heard.append)).future.result(120)
    assert heard == [*b"hi", EOS]


def test_pre_emption_announces_no_token_twice(make_engine: MakeEngine) -> None:
    engine = make_engine(CacheRunner(page_size=4), num_pages=9, max_model_len=32)
    heard: list[list[int]] = [[], [], []]
    prompts = [(1, 2), (3, 4), (5, 6)]
    params = SamplingParams(max_tokens=25, ignore_eos=True)
    tickets = engine.submit_many(
        [Request(prompt, params, on_token=into.append) for prompt, into in zip(prompts, heard, strict=True)]
    )
    assert [list(ticket.future.result(120).token_ids) for ticket in tickets] == heard
    assert engine.utilization().preemptions > 0
    roomy = make_engine(CacheRunner(page_size=4))
    assert [list(roomy.submit(Request(prompt, params)).future.result(120).token_ids) for prompt in prompts] == heard
    assert roomy.utilization().preemptions == 0


def test_a_listener_that_raises_ends_its_own_request_alone(make_engine: MakeEngine) -> None:
    def fail(token_id: int) -> None:
        raise BrokenPipeError(f"nobody wants {token_id}")

    engine = make_engine(TableRunner({HELLO: b"hi", (9,): b"ok", (8,): b""}))
    bad, last, good = engine.submit_many(
        [Request(HELLO, PARAMS, on_token=fail), Request((8,), PARAMS, on_token=fail), Request((9,), PARAMS)]
    )
    with pytest.raises(BrokenPipeError, match="nobody wants 104"):
        bad.future.result(120)
    with pytest.raises(BrokenPipeError, match=f"nobody wants {EOS}"):
        last.future.result(120)
    assert good.future.result(120).text == "ok"


def test_a_future_that_its_caller_cancelled_does_no_harm(make_engine: MakeEngine) -> None:
    runner = GatedRunner(TableRunner({HELLO: b"hi"}))
    engine = make_engine(runner)
    cancelled = engine.submit(Request(HELLO, PARAMS))
    assert cancelled.future.cancel()
    runner.open()
    assert engine.submit(Request(HELLO, PARAMS)).future.result(120).text == "hi"


def test_group_stats_split_steps_by_sequences_and_begin_again_when_taken(make_engine: MakeEngine) -> None:
    engine = make_engine(TableRunner({(1,): b"abc", (2,): b"abc", (3,): b"a"}))
    requests = [Request((1,), PARAMS, "left"), Request((2,), PARAMS, "left"), Request((3,), PARAMS, "right")]
    for ticket in engine.submit_many(requests):
        ticket.future.result(120)
    left, right = engine.take_group_stats("left"), engine.take_group_stats("right")
    assert (left.output_tokens, right.output_tokens) == (8, 2)
    assert (left.decode_steps, right.decode_steps) == (3, 1)
    assert (left.decode_batch_sum, right.decode_batch_sum) == (3 + 2 + 2, 3)
    assert left.prefill_seconds == pytest.approx(2 * right.prefill_seconds)
    assert left.decode_seconds > 0 and right.decode_seconds > 0
    assert left.kv_cache_usage_peak == pytest.approx(3 / 64)
    assert engine.utilization().output_tokens == 10
    assert engine.take_group_stats("left").output_tokens == 0
