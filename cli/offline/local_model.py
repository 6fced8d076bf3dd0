"""Loads a model into this process for the local commands, without engine or queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from engine.config import EngineConfig, ResolvedConfig
from engine.execution.compilation import compiled_layers, keep_compile_cache
from engine.load import set_up_machine
from engine.machine.resolve import TORCH_DTYPES
from jobs.errors import ModelUnusable
from model.checkpoint.config import ModelConfig
from model.checkpoint.generation_config import GenerationConfig
from model.checkpoint.hub import ModelFolder
from model.qwen3 import Qwen3ForCausalLM, plain_layers
from model.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class LocalModel:
    """A model for the chapter's functions (`model.generate`), with its tokenizer and settings."""

    model: Qwen3ForCausalLM
    tokenizer: Tokenizer
    eos_token_ids: tuple[int, ...]
    resolved: ResolvedConfig
    load_seconds: float

    def compile_layers(self, wanted: bool, log: Callable[[str], None]) -> bool:
        """Choose whether the layers run compiled, as in a worker, or uncompiled.

        Returns True if they run compiled. If compilation is not possible, a line in the log says why.
        """
        layers_fn = compiled_layers(self.model, log) if wanted else None
        self.model.layers_fn = layers_fn or plain_layers
        return layers_fn is not None


def load_local_model(folder: ModelFolder, config: EngineConfig, log: Callable[[str], None]) -> LocalModel:
    """Load a checkpoint and its tokenizer. The layers are not compiled yet.

    Raises:
        InvalidInput: This machine or model does not support the configuration.
        ModelUnusable: The folder cannot be loaded, or the model makes embeddings.
    """
    started_at = time.monotonic()
    keep_compile_cache()
    tokenizer = Tokenizer.from_folder(folder.path)
    model_config = ModelConfig.from_folder(folder.path)
    if not model_config.has_output_layer:
        raise ModelUnusable(f"{folder.name} makes embeddings, and no texts.", "Name another model.")
    resolved, _ = set_up_machine(config, model_config, log)
    torch.set_num_threads(resolved.threads)
    model = Qwen3ForCausalLM.from_folder(
        folder.path,
        dtype=TORCH_DTYPES[resolved.dtype],
        device=resolved.device,
        vocab_limit=tokenizer.vocab_size,
        quantize=resolved.quantize,
        max_model_len=resolved.max_model_len,
    )
    eos_token_ids = GenerationConfig.from_folder(folder.path).eos_token_ids
    return LocalModel(model, tokenizer, eos_token_ids, resolved, time.monotonic() - started_at)
