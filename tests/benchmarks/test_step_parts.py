"""The parts of a step are all of it, each by its name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks.step_clock import BETWEEN, HEAD, INPUTS, SAMPLING
from benchmarks.step_parts import ATTENTION, PRODUCTS, SMALL, measure, report
from tests.support.byte_level_tokenizer import write_byte_level_tokenizer
from tests.support.tiny_checkpoint import write_tiny_checkpoint


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_every_part_of_a_step_has_its_time(quantize: str, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    write_byte_level_tokenizer(tmp_path)
    with torch.inference_mode():
        parts = measure(Namespace(model=tmp_path, sequences=4, quantize=quantize, threads=1))
    assert set(parts) == {PRODUCTS, ATTENTION, SMALL, HEAD, SAMPLING, INPUTS, BETWEEN}
    assert all(ms > 0 for part, ms in parts.items() if part != SMALL)


def test_shares_are_of_the_whole_step() -> None:
    assert "75.0%" in report({PRODUCTS: 3.0, ATTENTION: 1.0})
    assert "4.00" in report({PRODUCTS: 3.0, ATTENTION: 1.0})
