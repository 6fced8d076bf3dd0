"""The maximum speed of a model on this machine, for comparison with the figures of `bench`."""

from __future__ import annotations

from dataclasses import dataclass

from cli.offline.batch_throughput import BatchFigures
from cli.offline.machine_speed import measure_machine
from cli.offline.roofline import MachineSpeed, ModelCost, batch_limit, decode_limit
from engine.config import ResolvedConfig
from model.checkpoint.config import ModelConfig


@dataclass(frozen=True)
class Limits:
    """Maximum tokens per second, computed from the machine's measured speeds."""

    machine: MachineSpeed
    one_stream: float
    batch: float | None  # None: no batch was run, or its products are not in bfloat16, whose speed is measured


def measure_limits(model: ModelConfig, resolved: ResolvedConfig, batch: BatchFigures | None) -> Limits | None:
    """Measure the machine, which takes some seconds. Returns None for other devices and types than the limits hold for.

    It sets PyTorch's number of threads, so no other parallel work may follow on the same thread.
    """
    if resolved.device != "cpu" or resolved.dtype != "bfloat16":
        return None
    machine, cost = measure_machine(resolved.threads), ModelCost.of_model(model, resolved.quantize)
    of_batch = _of_batch(cost, machine, batch) if batch and resolved.quantize == "none" else None
    return Limits(machine, decode_limit(cost, machine, batch=1), of_batch)


def _of_batch(cost: ModelCost, machine: MachineSpeed, batch: BatchFigures) -> float:
    lengths = {"input_tokens": batch.input_tokens, "output_tokens": batch.output_tokens}
    return batch_limit(cost, machine, **lengths, longest_output=batch.longest_output)
