"""What a job's summary says."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console as RichConsole

from cli.console.summary import summary_of
from jobs.stats.stats import JobStats
from jobs.stores.memory.store import MemoryJobStore
from testing.jobs.sample_jobs import new_job, submit


def summary(stats: JobStats) -> dict[str, str]:
    """The summary's rows: label and text."""
    shown = io.StringIO()
    RichConsole(file=shown, width=200).print(summary_of(stats))
    rows = (line.split("  ", 1) for line in shown.getvalue().splitlines())
    return {label: text.strip() for label, text in rows}


@pytest.fixture
def stats() -> JobStats:
    store = MemoryJobStore(clock=lambda: 0.0)
    submit(store, new_job(lines=1))
    return store.jobs.stats("job-1")


@pytest.mark.parametrize(
    ("work", "wall", "said"),
    [
        (0.27, 0.26, "0.26 s"),  # the store counts the lease, which ends after the last line
        (0.2, 1.19, "1.19 s"),
        (50.0, 54.0, "54.0 s"),
        (57.0, 62.0, "1 min 02 s"),
        (0.2, 1.21, "0.20 s in which a worker ran it; 1.21 s"),
        (9.0, 10.1, "9.00 s in which a worker ran it; 10.1 s"),
        (120.0, 7200.0, "2 min 00 s in which a worker ran it; 2 h 00 min"),
    ],
)
def test_the_time_of_work_stands_beside_the_duration_if_the_job_stood_still_noticeably(
    stats: JobStats, work: float, wall: float, said: str
) -> None:
    ran = msgspec.structs.replace(stats, duration_seconds=work, wall_seconds=wall)
    assert summary(ran)["Duration"] == f"{said} from first step to last line"
    assert summary(stats)["Duration"] == "-"
