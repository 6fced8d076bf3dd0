"""Laws of the whole engine over a real model: a completion is a function of its own request alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from engine.load import LoadedEngine
from engine.request import Request, RequestOutput, RequestTooLong, Ticket
from jobs.records.sampling import FinishReason, SamplingParams

LoadTiny = Callable[..., LoadedEngine]

PROMPT_LENGTHS = (1, 2, 7, 64, 65, 100, 129, 20)


def requests(max_tokens: int = 90, **settings: Any) -> list[Request]:
    """One request of each length, greedy and sampled in turn."""
    return [
        Request(
            token_ids=tuple((place * 31 + number * 7) % 256 for place in range(length)),
            params=SamplingParams(
                **{"max_tokens": max_tokens, "temperature": number % 2, "seed": number, "ignore_eos": True, **settings}
            ),
        )
        for number, length in enumerate(PROMPT_LENGTHS)
    ]


def run_together(loaded: LoadedEngine, batch: list[Request]) -> list[RequestOutput]:
    return [ticket.future.result(120) for ticket in loaded.engine.submit_many(batch)]


def run_alone(loaded: LoadedEngine, batch: list[Request]) -> list[RequestOutput]:
    return [loaded.engine.submit(request).future.result(120) for request in batch]


def ids(outputs: list[RequestOutput]) -> list[tuple[int, ...]]:
    return [output.token_ids for output in outputs]


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest) -> list[tuple[int, ...]]:
    """What each of `requests()` gives with nobody beside it."""
    return ids(run_alone(request.getfixturevalue("load_tiny")(), requests()))


def test_the_tiny_model_has_something_to_say(alone: list[tuple[int, ...]]) -> None:
    assert all(len(set(each)) > 10 for each in alone)
    assert len(set(alone)) == len(alone)


def test_batched_gives_the_same_as_alone(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    assert ids(run_together(load_tiny(), requests())) == alone


def test_two_at_a_time_gives_the_same_as_all_at_once(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    assert ids(run_together(load_tiny(max_num_seqs=2), requests())) == alone


def test_pre_empted_gives_the_same_as_undisturbed(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    tight = load_tiny(num_pages=9, max_model_len=256)
    assert ids(run_together(tight, requests())) == alone
    stats = tight.engine.take_group_stats("")
    fed = stats.output_tokens
    assert stats.decode_tokens > fed, "no token was replayed, so nothing was pre-empted"


def test_a_prompt_in_chunks_gives_the_same_as_in_one_step(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    assert ids(run_together(load_tiny(max_batched_tokens=48), requests())) == alone


def test_the_same_seed_gives_the_same_text_whatever_the_neighbours(load_tiny: LoadTiny) -> None:
    wanted = Request((5, 6, 7), SamplingParams(max_tokens=40, temperature=0.9, top_k=50, seed=1234, ignore_eos=True))
    loaded = load_tiny()
    expected = loaded.engine.submit(wanted).future.result(120)
    first, *_, last = run_together(loaded, [wanted, *requests(40, temperature=1.5), wanted])
    assert first.text == last.text == expected.text
    other = Request(wanted.token_ids, SamplingParams(max_tokens=40, temperature=0.9, top_k=50, seed=7, ignore_eos=True))
    assert loaded.engine.submit(other).future.result(120).token_ids != expected.token_ids


def test_penalties_do_not_depend_on_the_neighbours(load_tiny: LoadTiny) -> None:
    batch = requests(40, repetition_penalty=1.3, presence_penalty=0.5)
    loaded = load_tiny()
    assert ids(run_together(loaded, batch)) == ids(run_alone(loaded, batch))
    assert ids(run_together(loaded, batch)) != ids(run_together(loaded, requests(40)))


@pytest.mark.usefixtures("compiler")
def test_compiled_gives_the_ids_of_eager(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    compiled = load_tiny(compile=True)
    assert compiled.compiled and compiled.compile_seconds > 0
    assert ids(run_together(compiled, requests())) == alone


def test_a_prompt_too_long_fails_alone(load_tiny: LoadTiny, alone: list[tuple[int, ...]]) -> None:
    loaded = load_tiny()
    batch = [*requests(), Request((1,) * loaded.resolved.max_model_len, SamplingParams(max_tokens=5))]
    *good, bad = loaded.engine.submit_many(batch)
    with pytest.raises(RequestTooLong):
        bad.future.result(120)
    assert [ticket.future.result(120).token_ids for ticket in good] == alone


def test_a_completion_ends_where_the_context_does(load_tiny: LoadTiny) -> None:
    loaded = load_tiny(max_model_len=70)
    output = loaded.engine.submit(Request((1,) * 60, SamplingParams(max_tokens=90, ignore_eos=True))).future.result(120)
    assert (len(output.token_ids), output.finish_reason) == (10, FinishReason.LENGTH)


def test_min_tokens_bars_eos(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    (eos,) = loaded.eos_token_ids
    hot: dict[str, Any] = {"max_tokens": 250, "temperature": 10.0}
    free = [Request((9,), SamplingParams(seed=seed, **hot)) for seed in range(8)]
    barred = [Request((9,), SamplingParams(seed=seed, min_tokens=200, **hot)) for seed in range(8)]
    assert min(map(len, ids(run_together(loaded, free)))) < 100, "eos never came, so nothing is shown"
    for output in run_together(loaded, barred):
        assert eos not in output.token_ids[:200]


def test_an_abort_in_the_middle_frees_every_page(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    endless = SamplingParams(max_tokens=500, ignore_eos=True, temperature=0)
    tickets: list[Ticket] = []

    def abort(_: int) -> None:
        loaded.engine.abort_many(tickets)

    tickets += loaded.engine.submit_many([Request((1, number), endless) for number in range(5)])
    trigger = loaded.engine.submit(Request((2,), SamplingParams(max_tokens=1, temperature=0), on_token=abort))
    trigger.future.result(120)
    for ticket in tickets:
        with pytest.raises(CancelledError):
            ticket.future.result(120)
    assert loaded.engine.utilization().running == 0
    assert loaded.engine.utilization().kv_cache_usage == 0


def test_the_text_is_that_of_the_tokens(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    for output in run_together(loaded, requests()):
        decoded = loaded.tokenizer.decode(output.token_ids)
        assert decoded.startswith(output.text)
        assert decoded[len(output.text) :] in ("", "\N{REPLACEMENT CHARACTER}")


def test_a_loaded_engine_says_what_it_is(load_tiny: LoadTiny, cpu_device: str) -> None:
    loaded = load_tiny()
    assert (loaded.device, loaded.compiled, loaded.compile_seconds) == (cpu_device, False, 0)
    assert loaded.load_seconds > 0
    assert (loaded.resolved.dtype, loaded.resolved.num_pages, loaded.resolved.threads) == ("float32", 100, 1)
