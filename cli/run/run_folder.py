"""The folder of a `run`: its server's data and its workers' logs until its results are written."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from cli.run.state_lock import StateLock
from jobs.errors import InvalidInput
from jobs.files.file_report import FileReport
from jobs.submission.submission import SubmitOptions

KEPT_RUNS = 10


def fingerprint_of(report: FileReport, model: str, options: SubmitOptions, quantize: str = "none") -> str:
    """Return a name for a file with its model and options. Runs with the same name are the same run.

    Args:
        report: Report of the file.
        model: The model as given, because two folders may have the same served name.
        options: Options of the command.
        quantize: Setting of the workers. All lines of a run come from one kind of weights.
    """
    facts = (report.digest, model, quantize, options.model, options.defaults, options.seed, options.skip_invalid)
    return hashlib.blake2b(msgspec.json.encode(facts), digest_size=10).hexdigest()


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
