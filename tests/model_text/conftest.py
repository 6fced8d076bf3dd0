from __future__ import annotations

from pathlib import Path

import pytest

from model.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def qwen3_tokenizer(qwen3_tokenizer_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(qwen3_tokenizer_folder)
