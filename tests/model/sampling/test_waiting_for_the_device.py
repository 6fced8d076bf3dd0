"""A GPU is waited for once a step, for the sampled ids: operations whose result the host must know would wait more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.sampling.sampling import SamplingBatch, SamplingRow, sample

WAITING_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Waits(TorchDispatchMode):
    """Collects the operations for which a host has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_put):
            waits = any(index is not None and index.dtype == torch.bool for index in args[1])
        else:
            waits = not WAITING_TAGS.isdisjoint(func.tags)
        if waits:
            self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


def waits_of(*rows: SamplingRow) -> list[str]:
    logits = torch.randn(len(rows), 5000, generator=torch.Generator().manual_seed(0))
    batch = SamplingBatch.from_rows(rows, "cpu")
    waits = Waits()
    with waits:
        sample(logits, batch)
    return waits.operations


def test_what_qwen3_asks_for_by_default_waits_for_nothing() -> None:
    thinking = SamplingRow(temperature=0.6, top_k=20, top_p=0.95, seed=1)
    assert waits_of(SamplingRow(), thinking, SamplingRow(temperature=0.7, top_k=20, top_p=0.8, seed=2)) == []


@pytest.mark.parametrize(
    "row",
    [
        SamplingRow(banned_ids=(3, 4)),
        SamplingRow(temperature=1, min_p=0.1, seed=1),
        SamplingRow(temperature=1, top_k=4000, seed=1),
        SamplingRow(
            temperature=1, top_k=9, repetition_penalty=1.2, presence_penalty=1, prompt_ids=(1,), output_ids=(2,)
        ),
    ],
    ids=str,
)
def test_other_settings_wait_for_nothing(row: SamplingRow) -> None:
    assert waits_of(row, row) == []


def test_a_nucleus_of_the_whole_vocabulary_waits_once_a_round_to_learn_which_rows_are_done() -> None:
    peaked, flat = SamplingRow(temperature=0.1, top_p=0.5), SamplingRow(temperature=5, top_p=0.99)
    assert waits_of(peaked) == ["aten.index.Tensor"]
    assert waits_of(peaked, flat) == ["aten.index.Tensor"] * 2
