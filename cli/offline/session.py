"""A model in this process for `generate`. Its methods are the same with and without a KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from cli.console.console import Console
from cli.offline.generation import TextPiece, stream_with_engine, stream_without_cache
from cli.offline.local_model import LocalModel, load_local_model
from cli.offline.prompt_ids import prompt_ids
from engine.load import LoadedEngine, load_engine
from jobs.errors import InvalidInput, ModelUnusable
from jobs.records.model_card import card_of_folder
from jobs.records.sampling import SamplingParams, SamplingSettings
from jobs.records.served_name import served_name
from jobs.settings import Settings
from model.checkpoint.hub import resolve_model
from model.memory.peak_memory import peak_memory_bytes
from worker.engine_options import engine_config

DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class LocalSession:
    """A loaded model. It runs in the engine, or without a KV cache if `loaded` is a `LocalModel`."""

    loaded: LoadedEngine | LocalModel
    defaults: SamplingSettings  # the model's own

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, console: Console, no_cache: bool) -> Iterator[Self]:
        """Load the settings' model. It is freed at the end of the block.

        Raises:
            InvalidInput: This machine or model does not support a setting.
            ModelUnusable: The model cannot be loaded.
        """
        folder = resolve_model(settings.model, show_progress=not console.quiet)
        card = card_of_folder(folder.path, served_name(settings.model))
        if card.kind == "embedding":
            raise ModelUnusable(
                f"{settings.model} makes embeddings, and no texts.",
                "Name another model, or embed the lines of a file with `qwen-batch run`.",
            )
        defaults = card.defaults
        config = engine_config(settings)
        if no_cache:
            local = load_local_model(folder, config, console.say)
            local.compile_layers(settings.compile, console.say)
            yield cls(local, defaults)
            return
        loaded = load_engine(folder.path, config, log=console.detail)
        try:
            yield cls(loaded, defaults)
        finally:
            loaded.engine.shutdown()

    @property
    def load_seconds(self) -> float:
        """Seconds to load and compile the model."""
        compile_seconds = 0.0 if isinstance(self.loaded, LocalModel) else self.loaded.compile_seconds
        return self.loaded.load_seconds + compile_seconds

    def stream(self, prompt: str, chat: bool, said: SamplingSettings, seed: int) -> Iterator[TextPiece]:
        """Generate the completion in pieces. Raises `InvalidInput` if the prompt does not fit."""
        tokenizer, resolved = self.loaded.tokenizer, self.loaded.resolved
        if chat and not tokenizer.has_chat_template:
            raise InvalidInput("This model has no chat template.", "Leave --chat out: a base model continues raw text.")
        token_ids = prompt_ids(tokenizer, prompt, chat)
        room = resolved.max_model_len - len(token_ids)
        if not token_ids or room < 1:
            raise InvalidInput(
                f"The prompt has {len(token_ids):,} tokens; it must have 1 to {resolved.max_model_len - 1:,}."
            )
        params = SamplingParams.resolve(
            said.over(self.defaults), max_tokens=min(room, said.max_tokens or DEFAULT_MAX_TOKENS), seed=seed
        )
        if isinstance(self.loaded, LocalModel):
            eos_token_ids = () if params.ignore_eos else self.loaded.eos_token_ids
            return stream_without_cache(self.loaded, token_ids, params.max_tokens, eos_token_ids)
        return stream_with_engine(self.loaded, token_ids, params)

    def peak_memory_bytes(self) -> int:
        """Return the peak memory so far: GPU memory on CUDA, else memory of this process."""
        return peak_memory_bytes(self.loaded.resolved.device)
