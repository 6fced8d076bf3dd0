"""Where unfinished runs are kept, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

from cli.run.run_folder import KEPT_RUNS, prune_runs, run_folder
from cli.run.state_lock import StateLock


def test_only_the_last_unfinished_runs_are_kept_and_those_in_use(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path, f"run-{number:02}") for number in range(KEPT_RUNS + 3)]
    for age, folder in enumerate(reversed(folders)):
        with StateLock(folder):
            pass
        os.utime(folder / "lock", (1e9 - age, 1e9 - age))
    with StateLock(folders[0]):
        os.utime(folders[0] / "lock", (0, 0))
        assert sorted(prune_runs(tmp_path)) == folders[1:3]
    assert sorted((tmp_path / "runs").iterdir()) == [folders[0], *folders[3:]]


def test_every_folder_that_is_made_for_state_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with StateLock(run_folder(tmp_path / "state" / "qwen-batch", "a-run")):
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "state").rglob("*")}
    finally:
        os.umask(before)
    assert modes == {"qwen-batch": "0o700", "runs": "0o700", "a-run": "0o700", "lock": "0o600"}
