"""The measured version of this project."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def our_version() -> str:
    """Return a text such as `qwen-batch 0.1.0 (a450ccb)`, with the commit if there is one."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude", "*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    name = f"qwen-batch {version('qwen-batch')}"
    return f"{name} ({found.stdout.strip()})" if found.returncode == 0 else name
