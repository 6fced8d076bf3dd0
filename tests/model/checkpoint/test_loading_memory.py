"""Loading needs little more memory than the weights themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testing.models.quantised_checkpoint import quantise_checkpoint
from testing.models.tiny_checkpoint import write_tiny_checkpoint

LOAD = """
import sys, torch
from model.memory.peak_memory import peak_cpu_memory_bytes
from model.qwen3 import Qwen3ForCausalLM
torch.set_num_threads(2)
before = peak_cpu_memory_bytes()
model = Qwen3ForCausalLM.from_folder(sys.argv[1], dtype=torch.float32)
print(peak_cpu_memory_bytes() - before)
"""


QUANTISED = [pytest.param(format, marks=pytest.mark.slow) for format in ("fp8", "gptq4")]


@pytest.mark.parametrize("format", ["plain", *QUANTISED])
def test_peak_memory_of_loading_stays_near_the_size_of_the_weights(tmp_path: Path, format: str) -> None:
    folder = write_tiny_checkpoint(
        tmp_path,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=128,
    )
    weights = (folder / "model.safetensors").stat().st_size
    if format != "plain":
        quantise_checkpoint(folder, format)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert weights > 240e6
    # One product read and not yet packed, and what the trial of the kernels needs; not a second copy of the weights.
    assert int(done.stdout) < weights * 1.25 + 80e6
