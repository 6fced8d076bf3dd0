"""Laws of the engine over a model with experts: its completions are those of a request alone, in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from engine.load import LoadedEngine
from engine.request import Request
from jobs.records.sampling import SamplingParams
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.cpu_engine import cpu_engines
from testing.models.tiny_checkpoint import TINY_EXPERTS, write_tiny_checkpoint

Load = Callable[..., LoadedEngine]

PROMPT_LENGTHS = (1, 63, 65, 129, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TINY_EXPERTS | {"hidden_size": 128, "head_dim": 64, "moe_intermediate_size": 64}
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("experts"), dtype="bfloat16", **shape)
    write_byte_level_tokenizer(folder)
    return folder


@pytest.fixture
def load(folder: Path, kernels: str) -> Iterator[Load]:
    with cpu_engines(folder, torch.bfloat16, threads=2) as load:
        yield load


def requests() -> list[Request]:
    """Greedy and sampled ones in turn."""
    return [
        Request(
            token_ids=tuple((place * 31 + number * 7) % 256 for place in range(length)),
            params=SamplingParams(max_tokens=16, temperature=number % 2, seed=number, ignore_eos=True),
        )
        for number, length in enumerate(PROMPT_LENGTHS)
    ]


def together(loaded: LoadedEngine, copies: int = 1) -> list[tuple[int, ...]]:
    return [ticket.future.result(120).token_ids for ticket in loaded.engine.submit_many(requests() * copies)]


@pytest.mark.parametrize(
    ("kernels", "quantize"),
    [
        ("C++ kernels", "none"),
        ("C++ kernels", "int8"),
        ("plain PyTorch", "none"),
        pytest.param("plain PyTorch", "int8", marks=pytest.mark.slow),
    ],
    indirect=["kernels"],
)
def test_alone_among_others_and_in_chunks_a_request_has_the_same_ids(load: Load, quantize: str) -> None:
    loaded = load(quantize=quantize)
    alone = [loaded.engine.submit(request).future.result(120).token_ids for request in requests()]
    assert len(set(alone)) == len(alone)
    assert together(loaded, copies=3) == alone * 3
    assert together(load(quantize=quantize, max_batched_tokens=48)) == alone


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    "kernels", ["C++ kernels", pytest.param("plain PyTorch", marks=pytest.mark.slow)], indirect=True
)
def test_compiled_layers_give_a_request_alone_its_ids_among_others(load: Load) -> None:
    loaded = load(compile=True)
    alone = [loaded.engine.submit(request).future.result(120).token_ids for request in requests()]
    assert together(loaded, copies=3) == alone * 3
