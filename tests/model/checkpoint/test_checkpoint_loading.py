"""Weights are read strictly: whole, sharded, tied, converted; and every kind of damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jobs.errors import ModelUnusable
from model.qwen3 import Qwen3ForCausalLM
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.tiny_checkpoint import change_tensors, write_tiny_checkpoint

Q_NORM = "model.layers.1.self_attn.q_norm.weight"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_folder(folder, dtype=dtype)


def logits(folder: Path) -> torch.Tensor:
    (rows,) = PackedSteps(load(folder)).run([CachedSequence([3, 1, 4, 1, 5])])
    return rows


def refusal(folder: Path) -> ModelUnusable:
    with pytest.raises(ModelUnusable) as caught:
        load(folder)
    assert str(folder) in caught.value.message
    return caught.value


def test_shards_give_what_a_single_file_gives(tmp_path: Path) -> None:
    single = write_tiny_checkpoint(tmp_path / "single")
    sharded = write_tiny_checkpoint(tmp_path / "sharded", shards=3)
    assert not (sharded / WEIGHTS).exists()
    assert torch.equal(logits(single), logits(sharded))


def test_a_tied_checkpoint_may_hold_its_head_and_the_embedding_decides(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    expected = logits(folder)
    change_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(320, 64)}))
    assert torch.equal(logits(folder), expected)


def test_an_untied_head_is_used(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path, tie_word_embeddings=False)
    change_tensors(folder, lambda tensors: tensors["lm_head.weight"].zero_())
    assert not logits(folder).any()


def test_weights_are_converted_to_the_dtype_asked_for(tmp_path: Path) -> None:
    model = load(write_tiny_checkpoint(tmp_path), torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.weights.final_norm.dtype == torch.bfloat16


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    change_tensors(folder, lambda tensors: tensors.pop(Q_NORM))
    assert f"lack 1 tensor: {Q_NORM}" in refusal(folder).message


def test_an_untied_checkpoint_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path, tie_word_embeddings=False)
    change_tensors(folder, lambda tensors: tensors.pop("lm_head.weight"))
    assert "lm_head.weight" in refusal(folder).message


def test_a_surplus_tensor_is_named(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    change_tensors(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(128)}))
    assert "hold unknown 1 tensor: model.layers.0.self_attn.q_proj.bias" in refusal(folder).message


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    change_tensors(folder, lambda tensors: tensors.update({Q_NORM: torch.zeros(31)}))
    assert f"{Q_NORM} in {folder} has the shape [31]; config.json makes it [32]" in refusal(folder).message


def test_a_tensor_of_integers_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    change_tensors(folder, lambda tensors: tensors.update({Q_NORM: torch.ones(32, dtype=torch.int8)}))
    assert "I8" in refusal(folder).message


@pytest.mark.parametrize("length", [0, 4, 100, -10], ids=["empty", "no header", "half a header", "cut off"])
def test_a_truncated_file_is_named(tmp_path: Path, length: int) -> None:
    path = write_tiny_checkpoint(tmp_path) / WEIGHTS
    path.write_bytes(path.read_bytes()[:length])
    assert f"{path} is damaged" in refusal(tmp_path).message


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path) / WEIGHTS
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n" * 4)
    assert f"{path} is damaged or not a safetensors file" in refusal(tmp_path).message


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    (write_tiny_checkpoint(tmp_path) / WEIGHTS).unlink()
    assert "no weights" in refusal(tmp_path).message


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path, shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors is missing" in refusal(folder).message


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 7}}'])
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    folder = write_tiny_checkpoint(tmp_path, shards=2)
    (folder / INDEX).write_text(text)
    assert INDEX in refusal(folder).message


def test_an_index_cannot_name_a_file_outside_its_folder(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "model", shards=2)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "../other.safetensors"}}))
    assert "'../other.safetensors'" in refusal(folder).message


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    with pytest.raises(ModelUnusable, match="400 ids, but the model has only 320"):
        Qwen3ForCausalLM.from_folder(tmp_path, dtype=torch.float32, vocab_limit=400)
