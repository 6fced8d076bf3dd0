"""In bfloat16, where rounding shows everything: a completion is its request's own, with the C++ kernels and without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from engine.execution.kernels import bfloat16_is_fast
from engine.execution.model_runner import ModelRunner
from engine.load import LoadedEngine
from engine.request import Request, Ticket
from engine.speculation.drafting import Drafting, Guesses
from jobs.records.sampling import SamplingParams
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.cpu_engine import cpu_engines
from testing.models.tiny_checkpoint import write_tiny_checkpoint

Load = Callable[..., LoadedEngine]

NEW_TOKENS = 40
PROMPT_LENGTHS = (1, 2, 63, 64, 65, 129, 50, 155, 55)  # most need another page while they decode

# Plain PyTorch with quantised weights is slow, and `tests/model/test_batch_invariance.py` compares its bits.
EACH = pytest.mark.parametrize(
    ("kernels", "quantize"),
    [
        ("C++ kernels", "none"),
        ("C++ kernels", "int8"),
        ("C++ kernels", "int4"),
        ("plain PyTorch", "none"),
        pytest.param("plain PyTorch", "int8", marks=pytest.mark.slow),
    ],
    indirect=True,
)
MOSTLY_FAST_KERNELS = pytest.mark.parametrize(
    "kernels", ["C++ kernels", pytest.param("plain PyTorch", marks=pytest.mark.slow)], indirect=True
)
UNQUANTISED = pytest.mark.parametrize("quantize", ["none"], indirect=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of usual proportions, whose head size every kernel knows."""
    folder = tmp_path_factory.mktemp("bfloat16")
    write_tiny_checkpoint(folder, dtype="bfloat16", hidden_size=128, head_dim=64, intermediate_size=192)
    write_byte_level_tokenizer(folder)
    return folder


@pytest.fixture
def quantize(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def load(folder: Path, kernels: str, quantize: str) -> Iterator[Load]:
    defaults = {"prefix_caching": False, "threads": 2, "quantize": quantize, "speculate": False}
    with cpu_engines(folder, torch.bfloat16, **defaults) as load:
        yield load


def requests() -> list[Request]:
    """Greedy and sampled ones in turn."""
    return [
        Request(
            token_ids=tuple((place * 31 + number * 7) % 256 for place in range(length)),
            params=SamplingParams(max_tokens=NEW_TOKENS, temperature=number % 2, seed=number, ignore_eos=True),
        )
        for number, length in enumerate(PROMPT_LENGTHS)
    ]


def sharing(first: int = 0) -> list[Request]:
    """Requests whose prompts share two pages and 12 tokens of the next one, and then differ."""
    beginning = tuple((first + place * 31) % 256 for place in range(140))
    return [
        Request(
            token_ids=(*beginning, number, *range(number * 9 % 40)),
            params=SamplingParams(max_tokens=70, temperature=number % 2, seed=number, ignore_eos=True),
        )
        for number in range(5)
    ]


def ids_of(tickets: list[Ticket]) -> list[tuple[int, ...]]:
    return [ticket.future.result(120).token_ids for ticket in tickets]


def together(loaded: LoadedEngine, copies: int = 1) -> list[tuple[int, ...]]:
    tickets = loaded.engine.submit_many(requests() * copies)
    return [ticket.future.result(120).token_ids for ticket in tickets]


def alone(loaded: LoadedEngine) -> list[tuple[int, ...]]:
    return [loaded.engine.submit(request).future.result(120).token_ids for request in requests()]


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, str], list[tuple[int, ...]]]:
    """The ids that these tests have seen already, by kernels and quantization."""
    return {}


@pytest.fixture
def undisturbed(
    load: Load, kernels: str, quantize: str, known: dict[tuple[str, str], list[tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    """The ids of `requests()` together, with room for all of them and their prompts whole."""
    if (kernels, quantize) not in known:
        known[kernels, quantize] = together(load())
    return known[kernels, quantize]


@EACH
def test_alone_in_nine_and_in_sixty_three_give_the_same_ids(load: Load) -> None:
    loaded = load()
    expected = alone(loaded)
    assert len(set(expected)) == len(expected)
    assert together(loaded) == expected
    assert together(loaded, copies=7) == expected * 7


@EACH
@pytest.mark.parametrize("budget", [64, 48, 200])
def test_prompts_in_chunks_give_the_ids_of_whole_prompts(
    load: Load, undisturbed: list[tuple[int, ...]], budget: int
) -> None:
    assert together(load(max_batched_tokens=budget)) == undisturbed


@EACH
def test_pre_empted_sequences_give_the_ids_of_undisturbed_ones(load: Load, undisturbed: list[tuple[int, ...]]) -> None:
    num_pages = 8 if bfloat16_is_fast("cpu") else 12  # a page takes twice as many bytes in float32
    tight = load(num_pages=num_pages, max_model_len=256)
    assert together(tight) == undisturbed
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"


@pytest.mark.parametrize("quantize", ["none", "int8"], indirect=True)
@MOSTLY_FAST_KERNELS
def test_a_prompt_that_joins_another_flows_decode_steps_gives_the_ids_of_one_alone(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(compile=True, max_batched_tokens=150, max_mixed_tokens=100)
    expected = alone(loaded)
    runner = loaded.engine._runner
    assert isinstance(runner, ModelRunner)
    run = mock.Mock(wraps=runner.run)
    monkeypatch.setattr(runner, "run", run)
    first, *others = requests()
    later: list[Ticket] = []

    def submit_the_others(_: int) -> None:
        if not later:
            later.extend(loaded.engine.submit_many([replace(each, flow="b") for each in others]))

    (early,) = loaded.engine.submit_many([replace(first, flow="a", on_token=submit_the_others)])
    assert early.future.result(120).token_ids == expected[0]
    assert [ticket.future.result(120).token_ids for ticket in later] == expected[1:]
    assert any(call.args[0].phase == "mixed" for call in run.call_args_list) == runner.mixes


@EACH
def test_a_prompt_has_the_ids_it_has_alone_wherever_it_parts_from_a_cached_one(load: Load) -> None:
    base = tuple(place * 31 % 256 for place in range(140))
    prompts = [
        Request(
            token_ids=(*base[:split], *((split * 7 + place) % 256 for place in range(4))),
            params=SamplingParams(max_tokens=6, temperature=split % 2, seed=split, ignore_eos=True),
        )
        for split in range(131)
    ]
    plain, caching = load(num_pages=300), load(num_pages=300, prefix_caching=True)
    expected = [ticket.future.result(120).token_ids for ticket in plain.engine.submit_many(prompts)]
    caching.engine.submit(replace(prompts[0], token_ids=base)).future.result(120)
    assert [ticket.future.result(120).token_ids for ticket in caching.engine.submit_many(prompts)] == expected
    assert caching.engine.take_group_stats("").cached_tokens > 8_000
    later = [caching.engine.submit(prompt) for prompt in prompts[::9]]
    assert [ticket.future.result(120).token_ids for ticket in later] == expected[::9]


@UNQUANTISED
@MOSTLY_FAST_KERNELS
def test_sequences_that_share_pages_have_their_own_ids_when_pages_run_out(load: Load) -> None:
    jobs = [sharing(first) for first in (0, 99)]
    plain = load(dtype="bfloat16")
    expected = [ids_of(plain.engine.submit_many(job)) for job in jobs]
    tight = load(num_pages=10, max_model_len=256, dtype="bfloat16", prefix_caching=True)
    for index in (0, 1, 0):  # the second job takes the pages of the first one's beginning
        assert ids_of(tight.engine.submit_many(jobs[index])) == expected[index]
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"
    assert stats.cached_tokens > 1_000


@UNQUANTISED
def test_pages_whose_first_owner_is_aborted_still_serve_the_others(load: Load) -> None:
    leader, *others = sharing()
    plain, caching = load(), load(prefix_caching=True)
    began = threading.Event()
    first = caching.engine.submit(replace(leader, on_token=lambda _: began.set()))
    assert began.wait(120)
    followers = caching.engine.submit_many(others)
    caching.engine.abort(first)
    assert ids_of(followers) == ids_of(plain.engine.submit_many(others))
    assert caching.engine.take_group_stats("").cached_tokens >= 128 * len(others)


def varied() -> list[Request]:
    """Requests with every kind of setting on which a token can depend."""
    settings: list[dict[str, object]] = [
        {"temperature": 0},
        {"temperature": 1, "top_k": 20},
        {"temperature": 1, "top_p": 0.9},
        {"temperature": 0, "presence_penalty": 1, "repetition_penalty": 1.3},
        {"temperature": 1, "frequency_penalty": 1},
        {"temperature": 0, "min_tokens": 20, "stop_token_ids": tuple(range(0, 256, 3)), "ignore_eos": False},
        {"temperature": 1, "stop": ("a", "1", "X")},
    ]
    return [
        replace(request, params=SamplingParams(**{"max_tokens": 40, "seed": 5, "ignore_eos": True, **each}))  # type: ignore[arg-type]
        for request, each in zip(requests(), settings, strict=False)
    ]


@EACH
def test_guesses_of_next_tokens_change_no_ids(load: Load, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = kernels == "C++ kernels"
    expected = ids_of(load(compile=fused).engine.submit_many(varied()))
    known = {request.token_ids: ids for request, ids in zip(varied(), expected, strict=True)}

    def draft(_: Drafting, _guesses: Guesses, tokens: list[int], _rows: int, max_tokens: int) -> tuple[int, ...]:
        """Up to seven tokens of the right continuation, of which every fifth is wrong."""
        (prompt,) = (each for each in known if tuple(tokens[: len(each)]) == each)
        start = len(tokens) - len(prompt)
        right = known[prompt][start : start + min(7, max_tokens)]
        return tuple(token + (place % 5 == 0) for place, token in enumerate(right, start))

    monkeypatch.setattr(Drafting, "pays", lambda *_: True)  # whatever a row costs on this machine
    monkeypatch.setattr(Drafting, "draft", draft)
    loaded = load(compile=fused, speculate=True)
    assert ids_of(loaded.engine.submit_many(varied())) == expected
    assert [loaded.engine.submit(each).future.result(120).token_ids for each in varied()[:2]] == expected[:2]
    stats = loaded.engine.take_group_stats("")
    assert 100 < stats.accepted_tokens < stats.drafted_tokens


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("kernels", "quantize"),
    [
        ("C++ kernels", "int8"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("C++ kernels", "none"), ("plain PyTorch", "none"), ("plain PyTorch", "int8"))
        ),
    ],  # `test_compiled_layer.py` and `test_tiny_model.py` compile plain PyTorch, too, which takes ten seconds
    indirect=True,
)
def test_compiled_layers_give_a_request_alone_its_ids_among_others(load: Load) -> None:
    loaded = load(compile=True, prefix_caching=True)
    assert loaded.compiled
    expected = alone(loaded)
    cached_before = loaded.engine.take_group_stats("").cached_tokens
    assert together(loaded, copies=3) == expected * 3
    assert cached_before == 0 < loaded.engine.take_group_stats("").cached_tokens
