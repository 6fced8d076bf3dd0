"""A quantised checkpoint runs as the plain checkpoint with the weights that it stands for. Damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jobs.errors import ModelUnusable
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import expected_shapes
from model.checkpoint.weights import Checkpoint
from model.ops.int4 import empty_groups, write_groups
from model.ops.linear import Quantization
from model.qwen3 import Qwen3ForCausalLM
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.quantised_checkpoint import FORMATS, quantise_checkpoint, values_of_groups
from testing.models.tiny_checkpoint import TINY_EXPERTS, change_tensors, write_tensors, write_tiny_checkpoint

WEIGHTS = "model.safetensors"
UP = "model.layers.1.mlp.up_proj"
SHAPE = {"hidden_size": 160, "intermediate_size": 288}  # blocks of 128 do not divide them


def model(folder: Path, dtype: torch.dtype = torch.float32, quantize: Quantization = "none") -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_folder(folder, dtype=dtype, quantize=quantize)


def logits(loaded: Qwen3ForCausalLM) -> torch.Tensor:
    (rows,) = PackedSteps(loaded).run([CachedSequence([3, 1, 4, 1, 5])])
    return rows


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write_pair(tmp_path: Path, format: str, **shape: Any) -> tuple[Path, Path]:
    """Writes a quantised checkpoint, and a plain one with the weights that it stands for."""
    quantised = write_tiny_checkpoint(tmp_path / "quantised", **SHAPE, **shape)
    plain = write_tiny_checkpoint(tmp_path / "plain", **SHAPE, **shape)
    write_tensors(plain, quantise_checkpoint(quantised, format))
    return quantised, plain


def refusal(folder: Path) -> str:
    with pytest.raises(ModelUnusable) as caught:
        model(folder)
    assert str(folder) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("dtype", "quantize"), [(torch.float32, "none"), (torch.bfloat16, "none"), (torch.bfloat16, "int8")]
)
def test_a_quantised_checkpoint_gives_the_logits_of_the_plain_one_with_its_weights(
    tmp_path: Path, format: str, dtype: torch.dtype, quantize: Quantization
) -> None:
    quantised, plain = write_pair(tmp_path, format)
    assert torch.equal(logits(model(quantised, dtype, quantize)), logits(model(plain, dtype, quantize)))


def test_weights_of_4_bits_keep_their_codes_in_4_bits(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(tmp_path, **SHAPE)
    plain = quantise_checkpoint(folder, format)[f"{UP}.weight"]
    config = ModelConfig.from_folder(folder)
    checkpoint = Checkpoint(folder, config.weight_format)
    checkpoint.check(expected_shapes(config), optional=["lm_head.weight"])
    kept = checkpoint.four_bits(f"{UP}.weight")
    assert (kept is not None) == (format in {"w4a16", "awq", "gptq4"})
    if kept is not None:
        groups = empty_groups(*plain.shape)
        write_groups(kept, groups)
        codes = plain.unflatten(1, (-1, 32))
        step = (codes.amax(-1) - codes.amin(-1)).repeat_interleave(32, 1) / 15  # at most the distance of two codes
        assert ((values_of_groups(groups, plain.shape[1]) - plain).abs() < step / 50).all()  # scales have eleven bits


@pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
def test_experts_may_be_quantised(tmp_path: Path, format: str, quantize: Quantization) -> None:
    quantised, plain = write_pair(tmp_path, format, **TINY_EXPERTS)
    ours, expected = (logits(model(folder, torch.bfloat16, quantize)) for folder in (quantised, plain))
    if quantize != "int4":
        assert torch.equal(ours, expected)
    else:  # the plain weights are rounded to other codes
        assert (ours - expected).float().norm() < 0.3 * expected.float().norm()


def test_it_may_have_several_files_and_an_output_layer_of_its_own(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(tmp_path / "whole", tie_word_embeddings=False)
    shards = write_tiny_checkpoint(tmp_path / "shards", tie_word_embeddings=False)
    quantise_checkpoint(folder, format)
    quantise_checkpoint(shards, format, shards=3)
    assert not (shards / WEIGHTS).exists()
    assert torch.equal(logits(model(shards)), logits(model(folder)))


def test_a_product_that_stayed_plain_is_read_as_it_is(tmp_path: Path, format: str) -> None:
    quantised, plain = write_pair(tmp_path, format)
    weights = load_file(plain / WEIGHTS)

    def restore(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(UP)]:
            del tensors[name]
        tensors[f"{UP}.weight"] = weights[f"{UP}.weight"]

    change_tensors(quantised, restore)
    assert torch.equal(logits(model(quantised)), logits(model(plain)))


def test_scales_of_activations_and_of_the_cache_are_left_unused(tmp_path: Path, format: str) -> None:
    quantised, plain = write_pair(tmp_path, format)
    more = {f"{UP}.input_scale": torch.ones(1), "model.layers.0.self_attn.k_scale": torch.ones(1)}
    change_tensors(quantised, lambda tensors: tensors.update(more))
    assert torch.equal(logits(model(quantised)), logits(model(plain)))


def test_each_tensor_that_is_missing_misshapen_or_of_another_type_is_named(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    quantise_checkpoint(folder, format)
    whole = load_file(folder / WEIGHTS)
    parts = [name for name in whole if name.startswith(UP) and not name.endswith(("g_idx", "weight_shape"))]
    assert len(parts) > 1
    for name in parts:
        write_tensors(folder, {key: tensor for key, tensor in whole.items() if key != name})
        assert UP in refusal(folder)
        write_tensors(folder, whole | {name: whole[name].flatten()[:-1].clone()})
        assert UP in refusal(folder)
        write_tensors(folder, whole | {name: torch.zeros(whole[name].shape, dtype=torch.int16)})
        assert name in refusal(folder)
        assert "holds I16" in refusal(folder)


@pytest.mark.parametrize("group", [-1, 3])
def test_groups_that_do_not_exist_are_named(tmp_path: Path, group: int) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    quantise_checkpoint(folder, "gptq4")
    change_tensors(folder, lambda tensors: tensors[f"{UP}.g_idx"].fill_(group))
    assert f"{UP}.g_idx" in refusal(folder)
    assert "is damaged: it must hold numbers of 2 groups, from 0" in refusal(folder)


def test_a_tensor_that_no_reader_knows_is_named(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    quantise_checkpoint(folder, format)
    change_tensors(folder, lambda tensors: tensors.update({f"{UP}.bias": torch.zeros(96)}))
    assert f"hold unknown 1 tensor: {UP}.bias" in refusal(folder)


def test_quantised_tensors_without_settings_in_the_config_are_refused(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    quantise_checkpoint(folder, format)
    raw = json.loads((folder / "config.json").read_text())
    del raw["quantization_config"]
    (folder / "config.json").write_text(json.dumps(raw))
    refusal(folder)
