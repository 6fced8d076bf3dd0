"""What macOS tells of its processor."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

SYSCTL = Path("/usr/sbin/sysctl")


def facts_of_macos(names: Iterable[str], program: Path = SYSCTL) -> dict[str, str]:
    """Ask macOS's program for facts by their names. Those that its version does not know are missing.

    Returns an empty dict on other systems. Apple documents the names under "Determining system capabilities" and
    "Determining instruction set characteristics".
    """
    try:
        found = subprocess.run([program, *names], capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return dict(line.split(": ", 1) for line in found.stdout.splitlines() if ": " in line)
