"""Where one `run` keeps its server's data and its workers' logs until its results are delivered."""

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
    """A name for "this file with this model and these options": what makes a repeated `run` the same run.

    Args:
        report: Of the file.
        model: As given; two folders may serve under one name.
        options: Of the command.
        quantize: The setting of workers that the run starts: its lines come from one kind of weights.
    """
    facts = (report.digest, model, quantize, options.model, options.defaults, options.seed, options.skip_invalid)
    return hashlib.blake2b(msgspec.json.encode(facts), digest_size=10).hexdigest()


def run_folder(state_folder: Path, fingerprint: str) -> Path:
    """A folder of its own for each fingerprint: different runs do not meet."""
    return state_folder / "runs" / fingerprint


def prune_runs(state_folder: Path) -> list[Path]:
    """Remove what unfinished runs left, except the last `KEPT_RUNS` and those that are being worked on.

    Returns the folders that went.
    """
    folders = sorted((state_folder / "runs").glob("*"), key=_last_used, reverse=True)
    return [folder for folder in folders[KEPT_RUNS:] if _remove_if_free(folder)]


def _last_used(folder: Path) -> float:
    """Seconds since the epoch; 0 if another process has just removed the folder."""
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
