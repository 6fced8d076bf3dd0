"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from tokenizers import Tokenizer
from torch import Tensor

from tools.demo_model.letters import LETTERS
from tools.demo_model.network import Shape, TrainingQwen3
from tools.demo_model.optimiser import DemoOptimiser
from tools.demo_model.packing import PackedBatch, packed_batches
from tools.demo_model.registry import TASKS
from tools.demo_model.task import Task


@dataclass(frozen=True)
class TrainingPlan:
    """The length and the data of a training. The seed makes it repeatable on one machine."""

    steps: int = 6000
    tasks: tuple[Task, ...] = TASKS
    peak_rate: float = 1.0  # share of the optimiser's full learning rates
    rows: int = 21
    row_length: int = 192
    seed: int = 20251
    report_every: int = 100


# After the first training the tasks about letters are the weakest: each prefix of a known word is learnt letter by
# letter. A short second training asks for them more often, and for tasks that would otherwise be forgotten.
_OFTENER = {"count": 5.0, "sort": 1.5, "subtract": 1.5} | {task.name: 2.5 for task in LETTERS}

POLISH = TrainingPlan(
    steps=1600,
    tasks=tuple(replace(task, weight=_OFTENER.get(task.name, 1.0) * task.weight) for task in TASKS),
    peak_rate=0.3,
    seed=20252,
)


def loss_of(network: TrainingQwen3, batch: PackedBatch) -> Tensor:
    """Return the weighted mean cross-entropy of the answers' tokens."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
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
    batches = packed_batches(tokenizer, plan.tasks, rows=plan.rows, row_length=plan.row_length, seed=plan.seed)
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
