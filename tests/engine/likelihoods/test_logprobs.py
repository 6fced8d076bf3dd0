"""Laws of log-probabilities over tiny models: they change no token, and depend on their own request alone."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.load import LoadedEngine
from engine.request import AnswerLogprobs, Request, RequestOutput
from engine.speculation.drafting import Drafting, Guesses
from jobs.records.sampling import SamplingParams
from model.qwen3 import Qwen3ForCausalLM
from model.sampling.logprobs import LogSoftmax
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.cpu_engine import load_cpu_engine
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.tiny_checkpoint import write_tiny_checkpoint

Load = Callable[..., LoadedEngine]
PROMPT_LENGTHS = (1, 2, 63, 64, 65, 129, 20)
NEW_TOKENS = 16
BOTH_KERNELS = ["C++ kernels", pytest.param("plain PyTorch", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in bfloat16, where rounding shows everything."""
    folder = tmp_path_factory.mktemp("bfloat16")
    write_tiny_checkpoint(folder, dtype="bfloat16", hidden_size=128, head_dim=64, intermediate_size=192)
    write_byte_level_tokenizer(folder)
    return folder


@pytest.fixture
def load(folder: Path, kernels: str) -> Iterator[Load]:
    engines: list[LoadedEngine] = []

    def load(num_pages: int = 100, **settings: object) -> LoadedEngine:
        asked = {"threads": 2, "speculate": False} | settings
        engines.append(load_cpu_engine(folder, torch.bfloat16, num_pages, **asked))
        return engines[-1]

    yield load
    for loaded in engines:
        loaded.engine.shutdown()


def requests() -> list[Request]:
    """Requests of every kind of sampling, each with another number of likeliest tokens."""
    settings: list[dict[str, object]] = [
        {"temperature": 0},
        {"temperature": 1, "top_k": 20},
        {"temperature": 1, "top_p": 0.9},
        {"temperature": 0, "presence_penalty": 1, "repetition_penalty": 1.3},
        {"temperature": 0, "min_tokens": 12, "stop_token_ids": tuple(range(0, 256, 3)), "ignore_eos": False},
        {"temperature": 1, "logit_bias": ((7, 50.0),)},
        {"temperature": 1, "allowed_token_ids": (5, 6, 7)},
    ]
    return [
        Request(
            token_ids=tuple((place * 31 + number * 7) % 256 for place in range(length)),
            params=SamplingParams(**{"max_tokens": NEW_TOKENS, "seed": number, "ignore_eos": True, **said}),  # type: ignore[arg-type]
            logprobs=number * 3,
        )
        for number, (length, said) in enumerate(zip(PROMPT_LENGTHS, settings, strict=True))
    ]


def outputs(loaded: LoadedEngine, batch: list[Request]) -> list[RequestOutput]:
    return [ticket.future.result(120) for ticket in loaded.engine.submit_many(batch)]


def found(loaded: LoadedEngine, batch: list[Request]) -> list[AnswerLogprobs | None]:
    return [output.logprobs for output in outputs(loaded, batch)]


def logits_of(model: Qwen3ForCausalLM, prompt: Items[int], completion: Items[int]) -> torch.Tensor:
    """The model's logits [tokens, vocab] at each place of a completion."""
    steps, sequence = PackedSteps(model), CachedSequence(list(prompt))
    rows = [steps.run([sequence])[0][-1]]
    for token_id in completion[:-1]:
        sequence.token_ids.append(token_id)
        rows.append(steps.run([sequence], is_decode=True)[0][-1])
    return torch.stack(rows)


@pytest.mark.parametrize("kernels", BOTH_KERNELS, indirect=True)
def test_who_asks_gets_the_same_tokens_and_the_same_bits_alone_among_others_and_in_chunks(load: Load) -> None:
    loaded = load()
    silent = outputs(loaded, [replace(each, logprobs=None) for each in requests()])
    alone = [outputs(loaded, [each])[0] for each in requests()]
    assert [each.token_ids for each in alone] == [each.token_ids for each in silent]
    assert [each.logprobs for each in silent] == [None] * len(silent)
    expected = [each.logprobs for each in alone]
    assert found(loaded, requests()) == expected
    mixed = [each for asking in requests() for each in (asking, replace(asking, logprobs=None))]
    assert found(loaded, mixed)[::2] == expected
    assert found(load(max_batched_tokens=48), requests()) == expected


@pytest.mark.parametrize("kernels", ["C++ kernels"], indirect=True)
def test_a_sequence_that_lost_its_pages_has_the_bits_of_an_undisturbed_one(load: Load) -> None:
    longer = [replace(each, params=replace(each.params, max_tokens=70)) for each in requests()[:5]]
    expected = found(load(), longer)
    tight = load(num_pages=9, max_model_len=256)
    assert found(tight, longer) == expected
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"


@pytest.mark.parametrize("kernels", ["C++ kernels"], indirect=True)
def test_guessed_tokens_have_the_bits_of_tokens_that_were_not_guessed(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outputs(load(), requests())
    known = {request.token_ids: output.token_ids for request, output in zip(requests(), expected, strict=True)}

    def draft(_: Drafting, _guesses: Guesses, tokens: list[int], _rows: int, max_tokens: int) -> tuple[int, ...]:
        """Up to four tokens of the right continuation, of which every fifth is wrong."""
        prompt = max((each for each in known if tuple(tokens[: len(each)]) == each), key=len)
        start = len(tokens) - len(prompt)
        right = known[prompt][start : start + min(4, max_tokens)]
        return tuple(token + (place % 5 == 0) for place, token in enumerate(right, start))

    monkeypatch.setattr(Drafting, "pays", lambda *_: True)  # whatever a row costs on this machine
    monkeypatch.setattr(Drafting, "draft", draft)
    guessing = load(speculate=True)
    assert found(guessing, requests()) == [each.logprobs for each in expected]
    assert guessing.engine.take_group_stats("").accepted_tokens > 30


@pytest.mark.parametrize("kernels", BOTH_KERNELS, indirect=True)
def test_they_are_those_of_the_models_own_logits_whatever_changes_them_later(load: Load, folder: Path) -> None:
    loaded = load()
    limit = loaded.tokenizer.vocab_size
    model = Qwen3ForCausalLM.from_folder(folder, dtype=torch.bfloat16, vocab_limit=limit)
    for request, output in zip(requests(), outputs(loaded, requests()), strict=True):
        assert output.logprobs is not None
        places = output.logprobs.places
        assert output.logprobs.token_ids == output.token_ids
        softmax = LogSoftmax.of(logits_of(model, request.token_ids, output.token_ids))
        own = softmax.of_tokens(torch.tensor(output.token_ids)[:, None]).squeeze(1)
        assert [place.own for place in places] == own.tolist()
        assert {len(place.top_ids) for place in places} == {4 * (request.logprobs or 0)}
        for place, token_id in zip(places, output.token_ids, strict=True):
            top_ids = struct.unpack(f"<{len(place.top_ids) // 4}i", place.top_ids)
            top = struct.unpack(f"<{len(top_ids)}f", place.top)
            assert list(top) == sorted(top, reverse=True)
            if token_id in top_ids:
                assert top[top_ids.index(token_id)] == place.own
            elif top:
                assert place.own <= top[-1]
