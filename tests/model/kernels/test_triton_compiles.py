"""The Triton kernels as machine code for real cards, which needs none: what the interpreter cannot see."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require

pytestmark = pytest.mark.slow

COMPILE = Path(__file__).with_name("compile_triton_kernels.py")
SMALLEST_SHARED_MEMORY = 99 * 1024  # bytes a block may have on cards of compute capability 8.6 and 8.9


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_with_tensor_cores_for_bfloat16_and_exact_products_for_float32(
    capability: int, tmp_path: Path
) -> None:
    require(importlib.util.find_spec("triton") is not None, "the package triton is for Linux")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, str(COMPILE), str(capability)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert len(kernels) == 8
    for name, dtype, shared, tensor_cores, tf32 in kernels:
        attends = name.startswith("_attend")
        assert int(shared) <= SMALLEST_SHARED_MEMORY, name
        assert (int(tensor_cores) > 0) == (attends and dtype == "torch.bfloat16"), name
        assert int(tf32) == 0, name
