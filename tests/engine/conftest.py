"""Engines over a runner of ours, and over a tiny real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.engine import Engine
from engine.load import LoadedEngine
from engine.requests.ports import Runner
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from testing.models.byte_level_tokenizer import END_OF_TEXT, write_byte_level_tokenizer
from testing.models.cpu_engine import load_cpu_engine
from testing.models.fake_runner import EOS, ByteTokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint

MakeEngine = Callable[..., Engine]


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """`make_engine(runner, max_model_len=..., num_pages=..., on_death=...)` returns a started engine."""
    engines: list[Engine] = []

    def make(
        runner: Runner,
        max_model_len: int = 64,
        num_pages: int = 65,
        on_death: Callable[[BaseException], None] = lambda _: None,
    ) -> Engine:
        engine = Engine(
            scheduler=Scheduler(PageAllocator(num_pages, page_size=4), SchedulingPolicy(8, 64)),
            runner=runner,
            detokenizer=ByteTokenizer(),
            eos_token_ids=(EOS,),
            max_model_len=max_model_len,
            on_death=on_death,
        )
        engines.append(engine)
        engine.start()
        return engine

    yield make
    for engine in engines:
        engine.shutdown()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen3 with a byte-level tokenizer, whose `<|endoftext|>` ends a completion."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder)
    write_byte_level_tokenizer(folder)
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": {END_OF_TEXT}}}')
    return folder


@pytest.fixture(scope="session")
def load_tiny(tiny_folder: Path) -> Iterator[Callable[..., LoadedEngine]]:
    """`load_tiny(num_pages=..., ...)`: the tiny model's engine, the same one for the same arguments."""
    loaded: dict[tuple[tuple[str, Any], ...], LoadedEngine] = {}

    def load(num_pages: int = 100, compile: bool = False, **settings: Any) -> LoadedEngine:
        key = (("num_pages", num_pages), ("compile", compile), *sorted(settings.items()))
        if key not in loaded:
            asked = {"compile": compile, "threads": 1, "speculate": False} | settings
            loaded[key] = load_cpu_engine(tiny_folder, torch.float32, num_pages, **asked)
        return loaded[key]

    yield load
    for each in loaded.values():
        each.engine.shutdown()
