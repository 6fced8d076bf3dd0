"""Rows read from a packed weight are those that were packed, and a tied model keeps one copy for both its ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.ops.linear import Quantization, pack_weight
from model.ops.packed_weight import has_readable_rows, rows_of
from model.qwen3 import Qwen3ForCausalLM
from testing.models.tiny_checkpoint import write_tiny_checkpoint

LAYOUTS = ["plain", "amx_pack", "dot_pack"]


def packed_as(layout: str, weight: torch.Tensor) -> torch.Tensor:
    if layout == "plain":
        return weight
    packed: torch.Tensor = getattr(torch.ops.qwen_batch_cpu, layout)(weight)
    return packed


@pytest.mark.usefixtures("built_kernels")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("out_features", "in_features"), [(1, 32), (64, 64), (70, 96), (1000, 1024)])
def test_every_row_of_a_packed_weight_has_its_bits(layout: str, out_features: int, in_features: int) -> None:
    weight = torch.randn(out_features, in_features).bfloat16()
    packed = packed_as(layout, weight)
    assert has_readable_rows(packed)
    assert torch.equal(rows_of(packed, torch.arange(out_features)), weight)


@pytest.mark.usefixtures("built_kernels")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_come_in_the_order_asked_for_and_as_often(layout: str) -> None:
    weight = torch.randn(300, 64).bfloat16()
    rows = torch.tensor([299, 0, 7, 7, 64, 31, 32, 299])
    assert torch.equal(rows_of(packed_as(layout, weight), rows), weight[rows])
    assert rows_of(packed_as(layout, weight), rows[:0]).shape == (0, 64)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("dtype", "quantize"), [(torch.float32, "none"), (torch.bfloat16, "int8")])
def test_a_weight_of_which_rows_cannot_be_read_is_told_apart(dtype: torch.dtype, quantize: Quantization) -> None:
    packed = pack_weight(torch.randn(64, 256).to(dtype), quantize)
    assert has_readable_rows(packed) == (not packed.is_mkldnn and packed.dtype == dtype)


@pytest.mark.usefixtures("kernels")
def test_a_tied_model_keeps_one_copy_where_its_output_layer_shows_its_rows(tmp_path: Path) -> None:
    tied = Qwen3ForCausalLM.from_folder(write_tiny_checkpoint(tmp_path / "tied"), dtype=torch.bfloat16).weights
    assert tied.lm_head is not None
    assert (tied.embedding is tied.lm_head) == has_readable_rows(tied.lm_head)
    folder = write_tiny_checkpoint(tmp_path / "untied", tie_word_embeddings=False)
    untied = Qwen3ForCausalLM.from_folder(folder, dtype=torch.bfloat16).weights
    assert untied.embedding is not untied.lm_head
