"""Recorded decode steps, with a recorder that runs on a CPU: padding, the choice of a size, and static inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from engine.config import PAGE_SIZE, ResolvedConfig
from engine.engine import Engine
from engine.execution.decode_graphs import DecodeGraphs, Record, RecordedStep, Step, ladder
from engine.execution.model_runner import ModelRunner
from engine.request import Request
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from jobs.records.sampling import SamplingParams
from model.qwen3 import Qwen3ForCausalLM
from testing.models.fake_runner import ByteTokenizer

CONFIG = ResolvedConfig(
    device="cpu",
    dtype="float32",
    quantize="none",
    compile=True,
    policy=SchedulingPolicy(max_num_seqs=11, max_batched_tokens=256),
    max_model_len=400,
    num_pages=40,  # too few for all: sequences are pre-empted and replayed
    threads=1,
    speculate=False,
)
PROMPT_LENGTHS = (1, 2, 7, 64, 65, 100, 129, 20, 3, 250, 64, 5, 31)


@dataclass
class FakeRecorder:
    """Records what to call again. As a graph, it reads the memory it was recorded with and writes one place."""

    recorded: list[int] = field(default_factory=list)
    replayed: list[int] = field(default_factory=list)

    def __call__(self, step: Step) -> RecordedStep:
        hidden = step().clone()
        self.recorded.append(len(hidden))

        def replay() -> None:
            self.replayed.append(len(hidden))
            hidden.copy_(step())

        return RecordedStep(replay, hidden)


@pytest.fixture
def model(tiny_folder: Path) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_folder(tiny_folder, dtype=torch.float32)


@pytest.fixture(autouse=True)
def _eager_layers() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-compiler")}):
        yield
    torch.set_num_threads(before)


def completions(model: Qwen3ForCausalLM, record: Record | None, said: list[str]) -> list[tuple[int, ...]]:
    """A batch that shrinks as its lines end, greedy and sampled in turn."""
    runner = ModelRunner(model, CONFIG, said.append, record)
    runner.warm_up()
    engine = Engine(
        scheduler=Scheduler(PageAllocator(CONFIG.num_pages, PAGE_SIZE), CONFIG.policy),
        runner=runner,
        detokenizer=ByteTokenizer(),
        eos_token_ids=(),
        max_model_len=CONFIG.max_model_len,
    )
    requests = [
        Request(
            tuple((place * 31 + number * 7) % 256 for place in range(length)),
            SamplingParams(max_tokens=10 + 9 * number, temperature=number % 2, seed=number),
        )
        for number, length in enumerate(PROMPT_LENGTHS)
    ]
    engine.start()
    try:
        return [ticket.future.result(120).token_ids for ticket in engine.submit_many(requests)]
    finally:
        engine.shutdown()


def test_recorded_steps_give_the_text_of_steps_as_they_are(model: Qwen3ForCausalLM) -> None:
    recorder, said = FakeRecorder(), list[str]()
    recorded = completions(model, recorder, said)
    assert recorder.recorded == [13, 8, 4, 2]  # up to 11 sequences and the newcomers that may join them
    assert set(recorder.replayed) == {13, 8, 4, 2}
    assert said == ["Running without torch.compile: there is no C++ compiler (no-compiler)."]
    assert recorded == completions(model, None, said)


def test_a_recording_that_fails_leaves_steps_as_they_are(model: Qwen3ForCausalLM) -> None:
    def record(step: Step) -> RecordedStep:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    said: list[str] = []
    assert completions(model, record, said) == completions(model, None, [])
    line = "RuntimeError: operation not permitted when stream is capturing"
    assert said[1:] == [f"Running without recorded decode steps, which failed: {line}"]


def test_nothing_is_recorded_for_who_wants_nothing_compiled(model: Qwen3ForCausalLM) -> None:
    recorder = FakeRecorder()
    ModelRunner(model, replace(CONFIG, compile=False), print, recorder).warm_up()
    assert recorder.recorded == []


@pytest.mark.parametrize(
    ("max_num_seqs", "sizes"),
    [(1, (2,)), (2, (2,)), (3, (2, 3)), (8, (2, 4, 8)), (9, (2, 4, 8, 9)), (33, (2, 4, 8, 16, 24, 32, 33))],
)
def test_the_ladder_ends_at_the_largest_batch(max_num_seqs: int, sizes: tuple[int, ...]) -> None:
    assert ladder(max_num_seqs) == sizes


def test_a_step_takes_the_smallest_size_that_holds_it() -> None:
    step = RecordedStep(lambda: None, torch.zeros(0))
    graphs = DecodeGraphs({8: step, 2: step, 16: step})
    assert [graphs.size_for(count) for count in (1, 2, 3, 8, 9, 16, 17)] == [2, 2, 8, 8, 16, 16, None]
    assert DecodeGraphs().size_for(1) is None
