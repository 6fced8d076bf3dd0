"""`config.json` in both spellings, and everything that is refused by name before a weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.errors import ModelUnusable
from jobs.records.model_card import MODEL_TYPES
from model.checkpoint.config import ModelConfig, YarnConfig
from model.checkpoint.config_checks import ARCHITECTURES
from model.qwen3 import Qwen3ForCausalLM
from testing.models.tiny_checkpoint import tiny_config

ABSENT = object()  # marks a field that a case takes out


def write(folder: Path, **changes: Any) -> Path:
    raw = {name: value for name, value in (tiny_config() | changes).items() if value is not ABSENT}
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def test_both_spellings_give_the_same_config(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
    new = ModelConfig.from_folder(
        write(tmp_path, dtype="bfloat16", rope_parameters=yarn | {"rope_theta": 5000.0}, head_dim=48)
    )
    old = ModelConfig.from_folder(
        write(
            tmp_path,
            dtype=ABSENT,
            torch_dtype="bfloat16",
            rope_parameters=ABSENT,
            rope_theta=5000,
            rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256},
            head_dim=48,
        )
    )
    assert new == old
    assert new.rope_theta == 5000.0
    assert new.yarn == YarnConfig(factor=4.0, original_max_position_embeddings=256)
    assert (new.dtype, new.head_dim) == ("bfloat16", 48)


def test_yarn_stretches_the_context(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "rope_theta": 1e6}
    assert ModelConfig.from_folder(write(tmp_path, rope_parameters=yarn)).max_position_embeddings == 1024
    assert ModelConfig.from_folder(write(tmp_path)).max_position_embeddings == 512


def test_what_a_config_leaves_out_has_qwens_values(tmp_path: Path) -> None:
    config = ModelConfig.from_folder(
        write(tmp_path, head_dim=ABSENT, rms_norm_eps=ABSENT, tie_word_embeddings=ABSENT, dtype=ABSENT)
    )
    assert (config.head_dim, config.rms_norm_eps, config.tie_word_embeddings) == (128, 1e-6, False)
    assert config.dtype == "float32"


def test_float16_runs_in_bfloat16(tmp_path: Path) -> None:
    assert ModelConfig.from_folder(write(tmp_path, dtype="float16")).dtype == "bfloat16"


def quantised(method: str, **settings: Any) -> dict[str, Any]:
    return {"quantization_config": {"quant_method": method} | settings}


REFUSED = {
    "another kind of experts": ({"model_type": "qwen3_next"}, "'qwen3_next'"),
    "experts under the name of a dense model": ({"model_type": "qwen3_moe"}, "not ['Qwen3MoeForCausalLM']"),
    "other model": ({"model_type": "llama"}, "'llama'"),
    "no model type": ({"model_type": ABSENT}, "None"),
    "other architecture": ({"architectures": ["Qwen3ForSequenceClassification"]}, "Qwen3ForSequenceClassification"),
    "bitsandbytes": ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "BITSANDBYTES"),
    "unnamed quantisation": ({"quantization_config": {}}, "quantised (UNNAMED)"),
    "quantisation in one word": ({"quantization_config": "fp8"}, "quantised (UNNAMED)"),
    "FP8 in other blocks": (quantised("fp8", weight_block_size=[64, 64]), "FP8 with weight_block_size [64, 64]"),
    "FP8 of another kind": (quantised("fp8", fmt="e5m2"), "FP8 with fmt 'e5m2'"),
    "AWQ in 3 bits": (quantised("awq", bits=3), "AWQ with bits 3"),
    "AWQ of another version": (quantised("awq", bits=4, version="gemv"), "AWQ with version 'gemv'"),
    "GPTQ in 3 bits": (quantised("gptq", bits=3), "GPTQ with bits 3"),
    "GPTQ without bits": (quantised("gptq"), "GPTQ with bits None"),
    "GPTQ of another layout": (quantised("gptq", bits=4, checkpoint_format="marlin"), "checkpoint_format 'marlin'"),
    "GPTQ for Marlin": (quantised("gptq", bits=4, is_marlin_format=True), "GPTQ with is_marlin_format True"),
    "GPTQ in words of 16 bits": (quantised("gptq", bits=4, pack_dtype="int16"), "GPTQ with pack_dtype 'int16'"),
    "AutoRound's own layout": (quantised("auto-round", packing_format="auto_round"), "packing_format 'auto_round'"),
    "sparse weights": (quantised("compressed-tensors", format="marlin-24"), "format 'marlin-24'"),
    "weights of 3 bits": (
        quantised("compressed-tensors", format="pack-quantized", config_groups={"a": {"weights": {"num_bits": 3}}}),
        "COMPRESSED-TENSORS with num_bits 3",
    ),
    "sparse weights beside others": (
        quantised("compressed-tensors", sparsity_config={"format": "sparse-24-bitmask"}),
        "sparsity 'sparse-24-bitmask'",
    ),
    "dynamic rope": ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6}}, "'dynamic'"),
    "linear rope, old spelling": ({"rope_scaling": {"type": "linear", "factor": 2}}, "'linear'"),
    "rope of another kind": ({"rope_scaling": "yarn"}, "rope_scaling"),
    "partial rope": ({"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    "no theta": ({"rope_parameters": ABSENT}, "rope_theta"),
    "yarn that shrinks": (
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 0.5}},
        "at least 1",
    ),
    "biases": ({"attention_bias": True}, "attention_bias"),
    "sliding window": ({"use_sliding_window": True}, "use_sliding_window"),
    "sliding layer": ({"layer_types": ["full_attention", "sliding_attention"]}, "'sliding_attention'"),
    "other activation": ({"hidden_act": "gelu"}, "'gelu'"),
    "other dtype": ({"dtype": "float8_e4m3fn"}, "float8_e4m3fn"),
    "missing size": ({"hidden_size": ABSENT}, "hidden_size"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    "a size in quotes": ({"vocab_size": "320"}, "vocab_size is '320'"),
    "a true size": ({"head_dim": True}, "head_dim is True"),
    "negative eps": ({"rms_norm_eps": -1e-6}, "rms_norm_eps"),
    "heads that do not divide": ({"num_attention_heads": 4, "num_key_value_heads": 3}, "multiple"),
    "odd head": ({"head_dim": 33}, "odd"),
}


WEIGHT_FORMATS = {
    "unquantised": ({}, "plain"),
    "null": ({"quantization_config": None}, "plain"),
    "FP8 of Qwen": (
        quantised("fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=[128, 128]),
        "fp8",
    ),
    "FP8 with one scale": (quantised("fp8", activation_scheme="static"), "fp8"),
    "AWQ of Qwen": (quantised("awq", bits=4, group_size=128, version="gemm", zero_point=True), "awq"),
    "AWQ in capitals": (quantised("awq", bits=4, version="GEMM"), "awq"),
    "AWQ by GPTQModel": (quantised("awq", bits=4, format="gemm"), "awq"),
    "GPTQ of Qwen": (quantised("gptq", bits=8, group_size=128, desc_act=False, checkpoint_format="gptq"), "gptq"),
    "GPTQ of old": (quantised("gptq", bits=4, is_marlin_format=False), "gptq"),
    "GPTQ, version 2": (quantised("gptq", bits=4, checkpoint_format="gptq_v2"), "gptq_v2"),
    "GPTQ by AutoRound": (quantised("auto-round", bits=4, packing_format="auto_round:auto_gptq"), "gptq"),
    "AWQ by AutoRound": (quantised("auto-round", bits=4, packing_format="auto_round:auto_awq"), "awq"),
    "compressed-tensors": (
        quantised("compressed-tensors", format="pack-quantized", sparsity_config={}, config_groups={"a": {}}),
        "compressed-tensors",
    ),
    "compressed-tensors of old": (
        {"compression_config": quantised("compressed-tensors")["quantization_config"]},
        "compressed-tensors",
    ),
}


def test_clients_and_workers_know_the_same_types_of_models() -> None:
    assert tuple(ARCHITECTURES) == MODEL_TYPES


@pytest.mark.parametrize(("changes", "format"), WEIGHT_FORMATS.values(), ids=WEIGHT_FORMATS.keys())
def test_the_config_tells_how_weights_are_quantised(tmp_path: Path, changes: dict[str, Any], format: str) -> None:
    assert ModelConfig.from_folder(write(tmp_path, **changes)).weight_format == format


@pytest.mark.parametrize(("changes", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_computed_is_refused_by_name_before_a_weight_is_read(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    folder = write(tmp_path, **changes)  # and no weights: reading one would be another error
    with pytest.raises(ModelUnusable) as refusal:
        Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32)
    assert named in refusal.value.message
    assert str(folder / "config.json") in refusal.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"], ids=repr)
def test_a_damaged_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelUnusable, match=r"config\.json"):
        ModelConfig.from_folder(tmp_path)


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"no config\.json"):
        ModelConfig.from_folder(tmp_path)
    with pytest.raises(ModelUnusable, match=r"no config\.json"):
        ModelConfig.from_folder(tmp_path / "not-there")
