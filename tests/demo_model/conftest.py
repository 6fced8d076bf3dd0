"""The bundled checkpoint and its parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from tools.demo_model.tokenizer import build_tokenizer

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "model" / "demo"


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """The committed checkpoint."""
    return DEMO_FOLDER


@pytest.fixture(scope="session")
def demo_tokenizer() -> Tokenizer:
    """The tokenizer as the training builds it."""
    return build_tokenizer()


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """The suite shares its machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)
