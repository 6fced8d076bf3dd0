"""Tiny checkpoints, tokenizers and a fixed number of threads for the model's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.text.tokenizer import Tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, tied, float32."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer, but dot products of 1,024 and more, which AMX kernels split by the number of rows."""
    return write_tiny_checkpoint(
        tmp_path_factory.mktemp("wide"),
        hidden_size=1024,
        intermediate_size=1536,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=128,
    )


@pytest.fixture(scope="session")
def qwen3_tokenizer(qwen3_tokenizer_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(qwen3_tokenizer_folder)


@pytest.fixture(scope="session", params=["demo", "Qwen3"])
def chat_folder(request: pytest.FixtureRequest) -> Path:
    """A tokenizer with a chat template: the demo model's, which is always there, and Qwen3's own."""
    if request.param == "demo":
        return REPOSITORY / "model" / "demo"
    folder: Path = request.getfixturevalue("qwen3_tokenizer_folder")
    return folder


@pytest.fixture(scope="session")
def chat_tokenizer(chat_folder: Path) -> Tokenizer:
    """Each of them in turn."""
    return Tokenizer.from_folder(chat_folder)
