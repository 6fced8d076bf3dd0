"""Read sources as a submission does."""

from __future__ import annotations

import io

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile

LINES = b'{"id": "a", "prompt": "Hello"}\n{"id": "b", "prompt": "Good night"}\n'


def texts(*urls: str) -> list[str | None]:
    with PromptFile.open(urls, io.BytesIO()) as file:
        return [prompt.text for prompt in file.check().prompts()]


def refusal(url: str) -> str:
    with pytest.raises(InvalidInput) as error:
        texts(url)
    return str(error.value)
