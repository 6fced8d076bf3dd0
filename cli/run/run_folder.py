"""The folder of a `run`: its server's data and its workers' logs until its results are written."""

from __future__ import annotations

import shutil
from pathlib import Path

from cli.run.state_lock import StateLock
from jobs.errors import InvalidInput

KEPT_RUNS = 10


def run_folder(state_folder: Path, fingerprint: str) -> Path:
    """Return the folder for a fingerprint. Each fingerprint has its own folder."""
    return state_folder / "runs" / fingerprint


def prune_runs(state_folder: Path) -> list[Path]:
    """Remove the folders of unfinished runs, except the last `KEPT_RUNS` and the folders in use.

    Returns the removed folders.
    """
    folders = sorted((state_folder / "runs").glob("*"), key=_last_used, reverse=True)
    return [folder for folder in folders[KEPT_RUNS:] if _remove_if_free(folder)]


def _last_used(folder: Path) -> float:
    """Return the time of last use in seconds since the epoch. 0 if another process has just removed the folder."""
    try:
        return (folder / "lock").stat().st_mtime
    except OSError:
        return 0.0


def _remove_if_free(folder: Path) -> bool:
    try:
        with StateLock(folder):
            shutil.rmtree(folder, ignore_errors=True)
    except InvalidInput:
        return False
    return True
