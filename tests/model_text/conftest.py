from __future__ import annotations

from pathlib import Path

import pytest

from model.text.tokenizer import Tokenizer
from tests.conftest import REPOSITORY


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
