"""Tiny random checkpoints in the layouts of Qwen3-Embedding and Qwen3-Reranker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, processors

from testing.models.byte_level_tokenizer import END_OF_TEXT, write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tensors, write_tiny_checkpoint

PROMPTS = {"query": "Instruct: Find it\nQuery:", "document": ""}
CONTROL_TOKENS = ("<|im_start|>", "<|im_end|>")


def write_embedding_checkpoint(folder: Path, **shape: Any) -> Path:
    """Writes a model like Qwen3-Embedding: bare names, no output layer, and a tokenizer that ends each text."""
    write_tiny_checkpoint(folder, **shape)
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    write_tensors(folder, bare)
    write_byte_level_tokenizer(folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", END_OF_TEXT)]
    )
    backend.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 64, "pooling_mode_lasttoken": True, "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": PROMPTS}))
    return folder


def write_reranker_checkpoint(folder: Path, **shape: Any) -> Path:
    """Writes a model like Qwen3-Reranker: a language model whose tokenizer has the tokens `yes` and `no`."""
    write_tiny_checkpoint(folder, **shape)
    write_byte_level_tokenizer(folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    backend.add_tokens(["yes", "no"])
    backend.save(str(folder / "tokenizer.json"))
    return folder
