"""A plugin of pytest: the kernels of a tier run although the processor lacks some of the tier's instructions.

A preloaded library computes the instructions for tiles (tile_traps.cpp). pytest's own handler of illegal instructions
must not take the place of the library's:

    QWEN_BATCH_CPU_TIER=amx LD_PRELOAD=build/x86/tile_traps.so \
        pytest -p no:faulthandler -p testing.x86.plugin tests/model/ops

Those of AVX-VNNI are written in the encoding of AVX512-VNNI (vnni_compiler.sh):

    QWEN_BATCH_CPU_TIER=avx2-vnni CXX=testing/x86/vnni_compiler.sh pytest -p testing.x86.plugin tests/model/ops
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from model.kernels.tiers import TIERS, VARIABLE, Processor

TILES = frozenset({"amx_tile", "amx_bf16", "amx_int8"})
AVX_VNNI = frozenset({"avx_vnni"})
# For each tier, the features that need not be there, and those that must be there in their place.
REPLACED = {"amx": (TILES, frozenset()), "avx2-vnni": (AVX_VNNI, frozenset({"avx512_vnni", "avx512vl"}))}


def pytest_configure() -> None:
    """Let this process choose the tier that the environment names."""
    name = os.environ.get(VARIABLE, "")
    if name not in REPLACED:
        pytest.exit(f"{VARIABLE} is {name!r}; it must be one of {', '.join(REPLACED)}", returncode=1)
    (tier,) = (tier for tier in TIERS if tier.name == name)
    replaced, used = REPLACED[name]
    processor = Processor.inspect()
    missing = sorted((tier.needs - replaced | used) - processor.features)
    if missing:
        pytest.exit(f"the tests of {name} also need {', '.join(missing)}, which this processor lacks", returncode=1)
    extended = replace(processor, features=processor.features | replaced)
    pytest.MonkeyPatch().setattr(Processor, "inspect", lambda: extended)
