"""The whole model over the Triton kernels in their interpreter: the text of plain PyTorch.

They have not yet run on a GPU.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from model.qwen3 import Qwen3ForCausalLM
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, write_tiny_checkpoint
from tests.conftest import require


class Operators:
    """`torch.ops.qwen_batch` with the kernels that a CUDA device would be served by."""

    def __init__(self, triton_operators: Any) -> None:
        self.linear = torch.ops.qwen_batch.linear
        self.calls: list[str] = []
        self._triton = triton_operators

    def paged_attention(self, *arguments: Any) -> torch.Tensor:
        self.calls.append("decode" if arguments[-1] else "prefill")
        out: torch.Tensor = self._triton.paged_attention(*arguments)
        return out

    def store_kv(self, *arguments: Any) -> None:
        self.calls.append("store")
        self._triton.store_kv(*arguments)


@pytest.fixture
def operators() -> Operators:
    require(importlib.util.find_spec("triton") is not None, "the package triton is for Linux")
    from model.kernels.triton import operators as triton_operators

    return Operators(triton_operators)


def test_text_over_triton_kernels_is_that_of_plain_pytorch(
    tmp_path: Path, operators: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Qwen3ForCausalLM.from_folder(write_tiny_checkpoint(tmp_path / "tiny"), dtype=torch.float32)
    prompts = ragged_prompts(4, longest=70, vocab_size=TINY["vocab_size"])
    plain = PackedSteps(model).generate([CachedSequence(list(prompt)) for prompt in prompts], 5)
    monkeypatch.setattr("model.qwen3.torch.ops.qwen_batch", operators)
    ours = PackedSteps(model).generate([CachedSequence(list(prompt)) for prompt in prompts], 5)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
        assert one.argmax(-1).tolist() == other.argmax(-1).tolist()
    assert operators.calls == ["store", "prefill"] * 2 + ["store", "decode"] * 8  # of two layers
