"""One compiled layer serves every layer and every size, with the text and the laws of eager code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from model.compiled_layer import CompiledLayer, inductor_options
from model.layers import layer_by_layer
from model.qwen3 import Qwen3ForCausalLM, decoder_layer
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, write_tiny_checkpoint

# PyTorch's own inductor imports what PyTorch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str
)  # the engine's tests compile bfloat16, too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("compiled"), num_hidden_layers=3)


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiler")
@DTYPES
def test_compiled_text_is_eager_text_and_a_sequence_keeps_its_bits(folder: Path, dtype: torch.dtype) -> None:
    # In bfloat16 they may part where the last bit of a float32 decides the rounding; the prompts' logits stay near.
    eager = Qwen3ForCausalLM.from_folder(folder, dtype=dtype)
    layers_fn = layer_by_layer(CompiledLayer(decoder_layer))
    compiled = Qwen3ForCausalLM.from_folder(folder, dtype=dtype, layers_fn=layers_fn)
    prompts = ragged_prompts(9, longest=40, vocab_size=TINY["vocab_size"])

    expected = PackedSteps(eager).generate([CachedSequence(list(p)) for p in prompts], 12)
    together = PackedSteps(compiled).generate([CachedSequence(list(p)) for p in prompts], 12)
    for of_eager, of_compiled in zip(expected, together, strict=True):
        if dtype == torch.float32:
            assert of_eager.argmax(-1).tolist() == of_compiled.argmax(-1).tolist()
        torch.testing.assert_close(of_compiled[0], of_eager[0], atol=1e-4 if dtype == torch.float32 else 0.2, rtol=0)
    for row in (0, 4, 8):
        (alone,) = PackedSteps(compiled).generate([CachedSequence(list(prompts[row]))], 12)
        assert torch.equal(alone, together[row])


def test_prefill_and_decode_are_compiled_once_each_whatever_the_sizes(folder: Path) -> None:
    # The graphs are what is counted here; the code made from them is the other test's business.
    from torch._dynamo.testing import CompileCounter  # the compiler takes a second to import

    counter = CompileCounter()
    layer = CompiledLayer(decoder_layer, backend=counter)
    model = Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32, layers_fn=layer_by_layer(layer))
    for seed in range(8):
        steps = PackedSteps(model, num_pages=200 + seed)
        prompts = ragged_prompts(1 + seed * 3, longest=5 + seed * 7, vocab_size=TINY["vocab_size"], seed=seed)
        sequences = [CachedSequence(p) for p in prompts]
        steps.run(sequences, spare_columns=seed)
        for sequence in sequences:
            sequence.token_ids.append(1)
        steps.run(sequences, spare_columns=8 - seed, is_decode=True)
    assert counter.frame_count == 2


@pytest.mark.usefixtures("compiler")
def test_the_key_of_the_compilers_cache_holds_the_width_of_the_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    def hashed_options() -> dict[str, Any]:
        with torch._inductor.config.patch(inductor_options("cpu")):
            return torch._inductor.config.save_config_portable(ignore_private_configs=False)  # what the key hashes

    here = hashed_options()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # for PyTorch, a processor without wide registers
    lesser = hashed_options()
    assert {name for name in here if here[name] != lesser[name]} == {"cpp.simdlen"}
    assert (here["cpp.simdlen"] >= 128, lesser["cpp.simdlen"]) == (True, 0)
