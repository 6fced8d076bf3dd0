"""A plugin of pytest: the kernels' operators run on an emulated ARM processor.

    pytest -p testing.arm.plugin tests/model/ops/test_operators.py

`QWEN_BATCH_EMULATED_TIER` chooses the kernels' tier (default: neon).
"""

from __future__ import annotations

import os

import pytest

TIER = os.environ.get("QWEN_BATCH_EMULATED_TIER", "neon")
_kept: list[object] = []  # PyTorch forgets operators whose library is gone


def pytest_configure(config: pytest.Config) -> None:
    """Build the server, and register its operators in each process that runs tests."""
    from testing.arm.build import EMULATOR, obstacle, server_of

    why = obstacle()
    if why is not None:
        pytest.exit(why, returncode=1)
    server = server_of(TIER)
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # other processes run the tests
    from model.kernels.library import kernels_loaded
    from testing.arm.emulated_operators import EmulatedOperators

    operators = EmulatedOperators([EMULATOR, str(server)])
    operators.register()
    assert kernels_loaded(), "a test would load this machine's kernels"
    _kept.append(operators)
