"""Builds the kernels for ARM, with a server that runs them for tests (operator_server.cpp)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model.kernels.build import Toolchain, sources_digest, translation_units
from model.kernels.tiers import TIERS, Tier

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "arm"


def obstacle() -> str | None:
    """Return why this machine can emulate no ARM processor, or None if it can."""
    missing = [program for program in (COMPILER, EMULATOR) if shutil.which(program) is None]
    packages = "the Debian packages g++-aarch64-linux-gnu and qemu-user bring them"
    return f"{' and '.join(missing)} cannot be found; {packages}" if missing else None


def server_of(tier_name: str) -> Path:
    """Return the server of a tier. Builds it first if its sources have changed, which takes about 20 seconds."""
    (tier,) = (tier for tier in TIERS if tier.name == tier_name)
    digest = hashlib.sha256(sources_digest(tier).encode())
    for source in sorted(HERE.glob("*.cpp")) + sorted(HERE.glob("*.h")):
        digest.update(source.read_bytes())
    server = FOLDER / f"{tier.name}-{digest.hexdigest()[:16]}" / "server"
    if not server.exists():
        _build(tier, server)
    return server


def _build(tier: Tier, server: Path) -> None:
    """Compile all sources and link one program that needs no library, so that the emulator needs none of ARM."""
    server.parent.mkdir(parents=True, exist_ok=True)
    sources = [*translation_units(server.parent), *sorted(HERE.glob("*.cpp"))]
    objects = [server.parent / f"{source.stem}.o" for source in sources]
    compile_command = Toolchain(COMPILER).compile_command(tier)
    with ThreadPoolExecutor(2) as pool:
        commands = [
            [*compile_command, "-iquote", str(HERE), str(source), "-o", str(built)]
            for source, built in zip(sources, objects, strict=True)
        ]
        list(pool.map(lambda command: subprocess.run(command, check=True), commands))
    part = server.with_suffix(".part")
    subprocess.run([COMPILER, "-static", *map(str, objects), "-pthread", "-o", str(part)], check=True)
    part.rename(server)
