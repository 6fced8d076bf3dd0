"""Sizes in a config.json that no model has are refused by name, before anything of that size is made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.errors import ModelUnusable
from jobs.records.model_card import MAX_CONTEXT, card_of_folder
from model.checkpoint.config import ModelConfig
from model.checkpoint.config_checks import MAX_SIZES
from model.qwen3 import Qwen3ForCausalLM
from testing.models.tiny_checkpoint import TINY_EXPERTS, write_tiny_checkpoint

YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 1e300, "original_max_position_embeddings": 4096}
HUGE = [10**9, 2**63 - 1, 10**400, 10**4_000]


def folder_with(folder: Path, shape: dict[str, Any] = {}, **fields: Any) -> Path:  # noqa: B006 - never changed
    write_tiny_checkpoint(folder, **shape)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("name", [name for name in MAX_SIZES if not name.startswith("original")])
def test_a_size_that_no_model_has_is_refused_in_one_line(tmp_path: Path, name: str, value: int) -> None:
    folder = folder_with(tmp_path, TINY_EXPERTS, **{name: value})
    with pytest.raises(ModelUnusable, match=rf"{name} is .*; it must be a whole number from 1 to") as refused:
        ModelConfig.from_folder(folder)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_hidden_layers": 10**7}, "num_hidden_layers is 10000000; it must be a whole number from 1 to 1,000"),
        ({"rms_norm_eps": 10**4_000}, "rms_norm_eps is a number of about"),
        ({"rope_theta": 10**400, "rope_parameters": None}, "rope_theta is a number of about"),
        ({"rope_parameters": YARN}, "YaRN's factor 1e+300 gives a context beyond 100,000,000 tokens"),
        ({"dtype": ["x"] * 1_000}, "dtype"),
        ({"layer_types": 5}, "layer type"),
        ({"hidden_act": "x" * 10_000}, "hidden_act"),
    ],
)
def test_other_values_that_no_model_has_are_refused_in_one_line(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelUnusable) as refused:
        ModelConfig.from_folder(folder_with(tmp_path, **fields))
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_experts": 10_000, "num_hidden_layers": 1_000}, "1,000 layers of 10,000 experts are more than 100,000"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok is 9; it must be at most the number of experts, 8"),
        ({"num_local_experts": 9}, "num_experts and num_local_experts differ"),
        ({"num_experts": None}, "num_experts is None"),
        ({"moe_intermediate_size": 0}, "moe_intermediate_size is 0"),
        ({"mlp_only_layers": 5}, "mlp_only_layers is 5; it must be a list of numbers"),
        ({"mlp_only_layers": ["0"]}, "mlp_only_layers is ['0']"),
        ({"decoder_sparse_step": 0}, "decoder_sparse_step is 0"),
    ],
)
def test_experts_that_no_model_has_are_refused_in_one_line(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelUnusable) as refused:
        ModelConfig.from_folder(folder_with(tmp_path, TINY_EXPERTS, **fields))
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("digits", [400, 4_000, 5_000])
def test_a_number_of_any_length_is_an_error_of_the_file(tmp_path: Path, digits: int) -> None:
    path = folder_with(tmp_path) / "config.json"
    path.write_text(path.read_text().replace('"vocab_size": ', f'"vocab_size": {"9" * digits}'))
    with pytest.raises(ModelUnusable, match=r"config\.json"):
        ModelConfig.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_position_embeddings": 10**9}, "1,000,000,000"),
        ({"max_position_embeddings": 2**63 - 1}, "9,223,372,036,854,775,807"),
        ({"max_position_embeddings": 0}, "0"),
        ({"max_position_embeddings": 10**400}, "over 10^30"),
        ({"rope_parameters": YARN}, "over 10^30"),
    ],
)
def test_submit_refuses_the_same_contexts_as_a_worker(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    assert MAX_SIZES["max_position_embeddings"] == MAX_CONTEXT
    with pytest.raises(ModelUnusable, match=rf"is {re.escape(said)} tokens; it must be from 1 to 100,000,000"):
        card_of_folder(folder_with(tmp_path, **fields), "m")


def test_rotary_tables_are_as_long_as_the_context_that_is_used(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, max_position_embeddings=100_000_000)
    model = Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32, max_model_len=300)
    assert model.cos.shape[0] == model.sin.shape[0] == 300
