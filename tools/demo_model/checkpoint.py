"""The demo's checkpoint folder, in Qwen3's layout. Training writes it, and evaluation reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tools.demo_model.data.chat_format import END_OF_TEXT, TURN_END, TURN_START
from tools.demo_model.learning.network import Shape, TrainingQwen3

_LONGEST_CONTEXT = 2048  # allowed tokens of context; training saw far fewer (TrainingPlan.row_length)
_CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def _model_config(shape: Shape, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **asdict(shape),
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "max_position_embeddings": _LONGEST_CONTEXT,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "eos_token_id": tokenizer.token_to_id(TURN_END),
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _LONGEST_CONTEXT,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [TURN_START, TURN_END],
        "chat_template": _CHAT_TEMPLATE.read_text(encoding="utf-8"),
    }


def _generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "do_sample": False,
        "eos_token_id": [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END_OF_TEXT)],
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_checkpoint(network: TrainingQwen3, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder. Weights are bfloat16; the output matrix is left out, because it equals the embedding."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in network.state_dict().items()}
    path = folder / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors creates files that only the owner can read
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    _write_json(folder / "config.json", _model_config(network.shape, tokenizer))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    _write_json(folder / "generation_config.json", _generation_config(tokenizer))


def load_checkpoint(folder: Path) -> tuple[TrainingQwen3, Tokenizer]:
    """Return the stored network, with weights converted to float32, and its tokenizer."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = TrainingQwen3(Shape(**{field.name: config[field.name] for field in fields(Shape)}))
    weights = load_file(folder / "model.safetensors")
    network.load_state_dict({name.removeprefix("model."): value.float() for name, value in weights.items()})
    return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
