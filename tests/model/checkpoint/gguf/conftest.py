from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.errors import ModelUnusable
from model.qwen3 import Qwen3ForCausalLM
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.tiny_checkpoint import write_tiny_checkpoint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's cache, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "qwen-batch" / "gguf"


@pytest.fixture
def plain(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with a tokenizer of 257 tokens, and returns its folder."""

    def write(**shape: Any) -> Path:
        return write_byte_level_tokenizer(write_tiny_checkpoint(tmp_path / "tiny", **shape))

    return write


def logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The logits of a short prompt: [tokens, vocabulary]."""
    model = Qwen3ForCausalLM.from_folder(folder, dtype=dtype)
    (rows,) = PackedSteps(model).run([CachedSequence([3, 1, 4, 1, 5])])
    return rows


def refusal(call: Callable[[], object]) -> ModelUnusable:
    """The error of a model that cannot be used."""
    with pytest.raises(ModelUnusable) as caught:
        call()
    return caught.value
