"""The parts of a step are all of it, each by its name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks.kernels.step_clock import BETWEEN, HEAD, INPUTS, LAYERS, SAMPLING
from benchmarks.kernels.step_parts import ATTENTION, PRODUCTS, StepTimes, measure, report
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_every_part_of_a_step_has_its_time(quantize: str, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    write_byte_level_tokenizer(tmp_path)
    with torch.inference_mode():
        times = measure(Namespace(model=tmp_path, sequences=4, quantize=quantize, threads=1))
    assert set(times.parts) == {LAYERS, HEAD, SAMPLING, INPUTS, BETWEEN}
    assert set(times.alone) == {PRODUCTS, ATTENTION}
    assert all(ms > 0 for ms in [*times.parts.values(), *times.alone.values()])


def test_shares_are_of_the_whole_step() -> None:
    table = report(StepTimes({LAYERS: 3.0, HEAD: 1.0}, {PRODUCTS: 2.5, ATTENTION: 1.5}))
    assert "75.0%" in table
    assert "4.00" in table
