"""The real command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testing.processes.forked_commands import can_be_forked, run_command

REPOSITORY = Path(__file__).resolve().parents[2]


def environment(state: Path, **more: str) -> dict[str, str]:
    """This process's environment without its `QWEN_BATCH_*` settings, with state kept in `state`."""
    return without_settings() | {"QWEN_BATCH_STATE_DIR": str(state), "COLUMNS": "80"} | more


def without_settings() -> dict[str, str]:
    """This process's environment without its `QWEN_BATCH_*` settings, but with the forced tier of the machine."""
    kept = ("QWEN_BATCH_CPU_TIER",)
    return {name: value for name, value in os.environ.items() if not name.startswith("QWEN_BATCH_") or name in kept}


def command(*arguments: str | Path) -> list[str]:
    """The words that start `qwen-batch` with these arguments."""
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def qwen_batch(
    *arguments: str | Path,
    env: Mapping[str, str],
    stdin: str = "",
    timeout: float = 240,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; the words of `prefix` stand before it."""
    if not prefix and can_be_forked(env):
        done = run_command([*map(str, arguments)], env, REPOSITORY, stdin.encode(), timeout)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    return subprocess.run(
        [*prefix, *command(*arguments)],
        env=env,
        cwd=REPOSITORY,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def write_jsonl(path: Path, lines: Iterable[Any]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[Any]:
    """The objects of a JSONL file, in its order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
