"""The bundled checkpoint and its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.conftest import REPOSITORY
from tools.demo_model.tokenizer import build_tokenizer


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """The committed checkpoint."""
    return REPOSITORY / "model" / "demo"


@pytest.fixture(scope="session")
def demo_tokenizer() -> Tokenizer:
    """The tokenizer as the training builds it."""
    return build_tokenizer()
