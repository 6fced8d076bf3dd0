"""A plugin of pytest: the kernels for AMX run, and a preloaded library computes their tiles (tile_traps.cpp).

    LD_PRELOAD=build/amx/tile_traps.so pytest -p no:faulthandler -p testing.amx.plugin tests/model/ops

pytest's own handler of illegal instructions must not take the place of the library's.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.kernels.tiers import TIERS, Processor

(AMX,) = (tier for tier in TIERS if tier.name == "amx")
_TILES = {feature for feature in AMX.needs if feature.startswith("amx")}


def pytest_configure() -> None:
    """Let this process choose the kernels for AMX."""
    processor = Processor.inspect()
    missing = sorted(AMX.needs - _TILES - processor.features)
    if missing:
        pytest.exit(f"only tiles are emulated, and this processor also lacks {', '.join(missing)}", returncode=1)
    with_tiles = replace(processor, features=processor.features | _TILES)
    pytest.MonkeyPatch().setattr(Processor, "inspect", lambda: with_tiles)
