"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from tokenizers import Tokenizer
from torch import Tensor

from model.ops.onednn import has_bfloat16_instructions
from tools.demo_model.data.samples import Sample, draw_later_sample, draw_sample, draw_tool_sample
from tools.demo_model.learning.network import Shape, TrainingQwen3
from tools.demo_model.learning.optimiser import DemoOptimiser
from tools.demo_model.learning.packing import BatchShape, PackedBatch, packed_batches
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.registry import TASKS, WRAPPED_TASKS
from tools.demo_model.tasks.task import Task


@dataclass(frozen=True)
class TrainingPlan:
    """The length and the data of a training. The seed makes it repeatable on one machine."""

    steps: int
    draw: Callable[[Random], Sample]
    shape: BatchShape
    seed: int
    peak_rate: float = 1.0  # share of the optimiser's full learning rates
    tools_every: int | None = None  # steps from one batch of conversations with tools to the next
    report_every: int = 100


def _weighted(tasks: Sequence[Task], factors: Mapping[str, float]) -> tuple[Task, ...]:
    return tuple(replace(task, weight=factors.get(task.name, 1.0) * task.weight) for task in tasks)


_QUESTION_SHAPE = BatchShape(rows=21, row_length=192, learnt_places=1008)
_TOOL_SHAPE = BatchShape(rows=5, row_length=864, learnt_places=960)  # signatures of tools make conversations long

FIRST_LESSON = TrainingPlan(
    steps=6000,
    draw=partial(draw_sample, TASKS),
    shape=_QUESTION_SHAPE,
    seed=20251,
)

# After the first training the tasks about letters are the weakest: each prefix of a known word is learnt letter by
# letter. A short second training asks for them more often, and for tasks that would otherwise be forgotten.
_OFTENER = {"count": 5.0, "sort": 1.5, "subtract": 1.5} | {task.name: 2.5 for task in LETTERS}

POLISH = TrainingPlan(
    steps=1600,
    draw=partial(draw_sample, _weighted(TASKS, _OFTENER)),
    shape=_QUESTION_SHAPE,
    seed=20252,
    peak_rate=0.3,
)

# The second lesson, for a model that knows the first: JSON, thoughts and tools, among enough of the plain questions.
# A third of it is not enough: after 1,600 steps and 700 more at a lower rate, 92.6% of the JSON answers were right.
_NEWEST = {"json-word": 2.0, "think": 1.75}

SECOND_LESSON = TrainingPlan(
    steps=6000,
    draw=partial(draw_later_sample, _weighted(TASKS, _OFTENER) + _weighted(WRAPPED_TASKS, _NEWEST)),
    shape=replace(_QUESTION_SHAPE, learnt_places=1344),  # JSON and thoughts are longer than bare answers
    seed=20253,
    peak_rate=0.5,
    tools_every=4,
)


def _batches(tokenizer: Tokenizer, plan: TrainingPlan) -> Iterator[PackedBatch]:
    """Yield the batch of each step."""
    questions = packed_batches(tokenizer, plan.draw, plan.shape, seed=plan.seed)
    if plan.tools_every is None:
        yield from questions
        return
    conversations = packed_batches(tokenizer, draw_tool_sample, _TOOL_SHAPE, seed=plan.seed)
    for step in count():
        yield next(conversations if step % plan.tools_every == 0 else questions)


def loss_of(network: TrainingQwen3, batch: PackedBatch) -> Tensor:
    """Return the weighted mean cross-entropy of the answers' tokens."""
    # Where bfloat16 has no instructions, float32 is faster.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16_instructions()):
        logits = network(batch.token_ids, batch.positions, batch.samples, batch.places)
    losses = F.cross_entropy(logits.float(), batch.targets, reduction="none")
    return (losses * batch.weights).sum() / batch.weights.sum()


def new_network(tokenizer: Tokenizer, plan: TrainingPlan) -> TrainingQwen3:
    """Return an untrained network for the tokenizer's vocabulary."""
    torch.manual_seed(plan.seed)
    return TrainingQwen3(Shape(vocab_size=tokenizer.get_vocab_size()))


def train(
    network: TrainingQwen3, tokenizer: Tokenizer, plan: TrainingPlan, report: Callable[[str, TrainingQwen3], None]
) -> TrainingQwen3:
    """Train the network by the plan and return it. `report` gets a line and the network every few steps."""
    optimiser = DemoOptimiser(network, plan.steps, plan.peak_rate)
    compiled_loss = torch.compile(loss_of, dynamic=False)
    batches = _batches(tokenizer, plan)
    recent, started = 0.0, time.perf_counter()
    for step in range(plan.steps):
        loss = compiled_loss(network, next(batches))
        torch.autograd.backward(loss)
        optimiser.step(step)
        recent += loss.item()
        if (step + 1) % plan.report_every == 0:
            seconds = (time.perf_counter() - started) / plan.report_every
            report(f"step {step + 1}: loss {recent / plan.report_every:.4f}, {1000 * seconds:.0f} ms a step", network)
            recent, started = 0.0, time.perf_counter()
    return network
