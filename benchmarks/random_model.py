"""Write a Qwen3 checkpoint with random weights. The speed of a dense model does not depend on its weights.

    python -m benchmarks.random_model models/qwen3-0.6b --tokenizer FOLDER

The folder of --tokenizer supplies tokenizer.json and tokenizer_config.json. Its vocabulary must not be larger than that
of the shape. Without the option, the demo model's tokenizer is used, with meaningless tokens added up to the size of
Qwen3's. The output layer has one row per token, so a small vocabulary would make the model too fast.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.checkpoint.config import ModelConfig
from model.checkpoint.load import LM_HEAD, expected_shapes

TOKENS = 151_669  # number of tokens of Qwen3's tokenizer
DEMO = Path(__file__).resolve().parents[1] / "model" / "demo"

# Shapes as published in the models' config.json.
SIZES: dict[str, dict[str, Any]] = {
    "0.6b": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "1.7b": {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "4b": {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "30b-a3b-6-layers": {  # an eighth of the real one, which has 48
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 6,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "tie_word_embeddings": False,
    },
}


def write_random_model(folder: Path, size: str, tokenizer: Path, seed: int = 0) -> None:
    """Write a bfloat16 checkpoint of one of `SIZES`. Norms are one; other weights are normal with deviation 0.02."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "attention_bias": False,
        "vocab_size": 151_936,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "torch_dtype": "bfloat16",
        **SIZES[size],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [151645, 151643]}) + "\n")
    shutil.copy(tokenizer / "tokenizer_config.json", folder / "tokenizer_config.json")
    filled = fill_vocabulary(json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8")))
    (folder / "tokenizer.json").write_text(json.dumps(filled, ensure_ascii=False), encoding="utf-8")
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(ModelConfig.from_folder(folder)).items():
        if name == LM_HEAD and config["tie_word_embeddings"]:
            continue
        weight = torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * 0.02
        tensors[name] = weight.to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def fill_vocabulary(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a tokenizer.json with at least `TOKENS` tokens. Each free id gets a text of its own."""
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    taken = {*vocabulary.values(), *(token["id"] for token in tokenizer["added_tokens"])}
    fillers = {f"filler{token_id}": token_id for token_id in range(TOKENS) if token_id not in taken}
    return {**tokenizer, "model": {**tokenizer["model"], "vocab": vocabulary | fillers}}


def main() -> None:
    """Write the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to create")
    parser.add_argument("--size", choices=SIZES, default="0.6b")
    parser.add_argument("--tokenizer", type=Path, default=DEMO, help="folder with the tokenizer's two files")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        parser.error(f"{arguments.folder} exists")
    write_random_model(arguments.folder, arguments.size, arguments.tokenizer, arguments.seed)


if __name__ == "__main__":
    main()
