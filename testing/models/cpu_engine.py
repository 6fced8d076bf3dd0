"""An engine on the CPU, with a cache of few pages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.config import PAGE_SIZE, EngineConfig
from engine.load import LoadedEngine, load_engine
from model.checkpoint.config import ModelConfig
from model.kv_cache import bytes_per_page


def load_cpu_engine(folder: Path, dtype: torch.dtype, num_pages: int, /, **settings: object) -> LoadedEngine:
    """Load the model in `folder`, whose type is `dtype`, and start an engine with a cache of `num_pages` pages.

    `settings` are further fields of `EngineConfig`. Without any, nothing is compiled.
    """
    page = bytes_per_page(ModelConfig.from_folder(folder), PAGE_SIZE, dtype)
    said: dict[str, object] = {"compile": False} | settings
    config = EngineConfig(device="cpu", kv_cache_memory_bytes=num_pages * page, **said)  # type: ignore[arg-type]
    with warnings.catch_warnings():  # PyTorch's compiler uses parts of PyTorch that warn
        warnings.simplefilter("ignore", DeprecationWarning)
        return load_engine(folder, config, log=lambda _: None)


@contextmanager
def cpu_engines(folder: Path, dtype: torch.dtype, /, **defaults: object) -> Iterator[Callable[..., LoadedEngine]]:
    """Give a function that loads engines. They are shut down at the end of the block.

    The function takes the number of pages, 100 unless it is given, and settings that come before `defaults`.
    """
    engines: list[LoadedEngine] = []

    def load(num_pages: int = 100, **settings: object) -> LoadedEngine:
        engines.append(load_cpu_engine(folder, dtype, num_pages, **(defaults | settings)))
        return engines[-1]

    yield load
    for loaded in engines:
        loaded.engine.shutdown()
