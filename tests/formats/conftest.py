"""What the format tests share: decoding one line, and a model to check it against."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess, running_valkey

Decode = Callable[..., Prompt]


@pytest.fixture(scope="session")
def card() -> ModelCard:
    """A model with 1,000 tokens and a chat template."""
    return ModelCard(name="demo", vocab_size=1000, max_model_len=2048, has_chat_template=True)


@pytest.fixture
def decode(card: ModelCard) -> Decode:
    """Decodes one line, given as an object or as bytes, as the only line of a file for the model `demo`."""

    def decode(line: Any, card: ModelCard | None = card, number: int = 1) -> Prompt:
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        return LineDecoder(LineRules("demo", card)).decode(data, number - 1, number)

    return decode


@pytest.fixture
def why(decode: Decode) -> Callable[..., str]:
    """What is wrong with a line; fails if nothing is."""

    def why(line: Any, **options: Any) -> str:
        reason = decode(line, **options).invalid
        assert reason is not None, f"{line!r} was taken"
        return reason

    return why


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobStore(time.time)
        return
    with request.getfixturevalue("valkey").store() as store:
        yield store


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model per test, because tests share the server."""
    return str(request.node.name)
