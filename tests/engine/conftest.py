"""Engines over a runner of ours, shut down when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from engine.block_manager import BlockManager
from engine.engine import Engine
from engine.runner import Runner
from engine.scheduler import Scheduler
from tests.support.fake_runner import EOS, ByteTokenizer

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
            scheduler=Scheduler(BlockManager(num_pages, page_size=4), max_num_seqs=8, max_batched_tokens=64),
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
