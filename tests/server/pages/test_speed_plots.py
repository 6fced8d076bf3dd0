"""Plots of a job's speed, from samples while it is young and from its history afterwards."""

from __future__ import annotations

import time

import pytest

from jobs.records.completion import ErrorCode
from jobs.records.job import ShardRef
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import FIRST_SPAN_SECONDS, HistoryCounter
from jobs.stores.memory.store import MemoryJobStore
from server.pages.plots import plot_of_history
from testing.jobs.sample_jobs import completed, failed
from tests.server.pages.browsing import Browser
from tests.server.pages.conftest import Site

BEGIN = 1_700_000_000.0 - 1_700_000_000.0 % 3600  # every span begins there
MINUTE, HOUR, DAY = 60, 3600, 86_400


def history_of(seconds: int, *, every: int = 5, pause: range = range(0)) -> HistoryCounter:
    """A job that writes a line of 50 tokens every so many seconds, but not in the pause."""
    counter = HistoryCounter()
    for second in range(0, seconds, every):
        if second not in pause:
            counter.add(BEGIN + second, 1, 0, 50)
    return counter


@pytest.mark.parametrize(
    ("seconds", "every"), [(5 * MINUTE, 1), (50 * MINUTE, 1), (7 * HOUR, 5), (3 * DAY, 60), (30 * DAY, 60)]
)
def test_a_steady_job_has_the_same_speed_in_every_column(seconds: int, every: int) -> None:
    plot = plot_of_history(history_of(seconds, every=every).history(), BEGIN, BEGIN + seconds - every)
    assert plot is not None
    assert 10 <= len(plot.columns) <= 120
    assert len(plot.rows) <= 30
    assert (plot.begin, plot.end) == (BEGIN, BEGIN + seconds - every)
    for columns in (plot.columns, plot.rows):
        assert sum(column.tokens for column in columns) == 50 * (seconds // every)
        assert all(column.rate == pytest.approx(50 / every, rel=0.35) for column in columns)


def test_a_column_that_has_just_begun_is_no_drop_of_the_speed() -> None:
    for seconds in range(40 * MINUTE, 40 * MINUTE + 70, 5):
        plot = plot_of_history(history_of(seconds).history(), BEGIN, BEGIN + seconds - 5)
        assert plot is not None
        assert min(column.rate for column in plot.columns) > 8
        assert plot.peak < 14


def test_a_job_that_began_late_in_a_span_was_not_slow_at_first() -> None:
    counter = HistoryCounter()
    for second in range(10, 10 * MINUTE, 2):
        counter.add(BEGIN + second, 1, 0, 20)
    plot = plot_of_history(counter.history(), BEGIN + 10, BEGIN + 10 * MINUTE)
    assert plot is not None
    assert plot.columns[0].rate == pytest.approx(10, rel=0.45)
    assert plot.begin == BEGIN + FIRST_SPAN_SECONDS / 2


def test_a_pause_is_seen_as_a_gap() -> None:
    plot = plot_of_history(history_of(10 * HOUR, pause=range(HOUR, 8 * HOUR)).history(), BEGIN, BEGIN + 10 * HOUR)
    assert plot is not None
    still = [column for column in plot.columns if column.tokens == 0]
    assert sum(column.seconds for column in still) == pytest.approx(7 * HOUR, abs=2 * plot.columns[1].seconds)
    assert plot.peak == pytest.approx(10, rel=0.1)


def test_times_in_which_lines_failed_are_marked() -> None:
    counter = history_of(40 * MINUTE)
    for minute in (10, 11, 30):
        counter.add(BEGIN + minute * MINUTE, 0, 3, 0)
    plot = plot_of_history(counter.history(), BEGIN, BEGIN + 40 * MINUTE)
    assert plot is not None
    assert [(round(mark.left), round(mark.width)) for mark in plot.failures] == [(150, 30), (450, 15)]
    assert sum(column.failed or 0 for column in plot.rows) == 9


@pytest.mark.parametrize("lines", [0, 1])
def test_one_moment_is_no_plot(lines: int) -> None:
    counter = HistoryCounter()
    for _ in range(lines):
        counter.add(BEGIN, 1, 0, 50)
    assert plot_of_history(counter.history(), BEGIN, BEGIN) is None


def test_a_job_is_plotted_over_its_whole_life(site: Site, browser: Browser) -> None:
    spec, now = site.own_job(lines=9), time.time()
    lease = site.stores.jobs.work.lease(ShardRef(spec.id, 0), "worker-1", 60.0)
    assert lease is not None
    site.stores.jobs.work.write(lease, [completed(0), failed(1, ErrorCode.PROMPT_TOO_LONG)])
    for second in range(60):
        site.stores.jobs.fleet.add_timeline(spec.id, TimelineSample(now - 60 + second, "a", 50.0, 4, 0.5))
    young = browser.open("/jobs/job-1")
    assert "highest 50.0" in young.text
    assert "completed" not in young.text.partition("Show figures")[2].partition("Facts")[0]
    store = site.stores.jobs
    assert isinstance(store, MemoryJobStore)
    job = store.table.get(spec.id)
    job.first_step_at = now - 2 * HOUR
    for minute in range(60, 120):
        job.history.add(now - minute * MINUTE, 2, 0, 6000)
    old = browser.open("/jobs/job-1")
    table = old.text.partition("Show figures")[2].partition("Facts")[0]
    assert "completed failed" in table
    assert "highest 100" in old.text
    assert table.split()[-1] == "1"  # failed lines of the last row


def test_failed_lines_are_counted_by_their_codes(site: Site, browser: Browser) -> None:
    spec = site.own_job()
    lease = site.stores.jobs.work.lease(ShardRef(spec.id, 0), "worker-1", 60.0)
    assert lease is not None
    lines = [failed(0, ErrorCode.PROMPT_TOO_LONG), failed(1, ErrorCode.PROMPT_TOO_LONG), failed(2)]
    site.stores.jobs.work.write(lease, lines)
    assert "Failed by internal_error 1, prompt_too_long 2" in browser.open("/jobs/job-1", **{"hx-request": "true"}).text
