"""How progress is measured and shown."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from rich.console import Console as RichConsole

from cli.console.console import Console
from cli.console.displays import BarDisplay, LineDisplay
from cli.console.job_update import JobObserver, JobUpdate, Pace
from cli.console.progress import watch_job
from jobs.errors import StoreUnavailable
from jobs.harmless import harmless
from jobs.records.job import Job, JobState, NewJob
from jobs.records.sampling import SamplingSettings
from jobs.records.worker_report import WorkerReport
from jobs.stats import figures
from tests.cli.acting_worker import report

SHARED = report(jobs=("job-1", "job-2"))


def job_with(done: int = 0, tokens: int = 0, state: JobState = JobState.IN_PROGRESS) -> Job:
    spec = NewJob("job-1", "demo", "native", SamplingSettings(), 0, 100, 16, "prompts.jsonl", 0.0)
    return Job(spec, state, False, done, 0, 0, tokens, 0, None, None, None, None)


def observe(*moments: tuple[float, Job], workers: tuple[WorkerReport, ...] = ()) -> JobUpdate:
    observer = JobObserver()
    return [observer.update(job, workers, now) for now, job in moments][-1]


def console_on(stream: io.StringIO, terminal: bool = False) -> Console:
    rich = RichConsole(file=stream, force_terminal=terminal, width=80, markup=False, highlight=False, emoji=False)
    return Console(err=rich, out=rich)


def test_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace(window_seconds=10)
    for now in range(0, 100):
        pace.add(now, now if now < 80 else 80 + 5 * (now - 80))
    assert pace.per_second == pytest.approx(5)
    assert pace.seconds_for(50) == pytest.approx(10)


def test_pace_looks_back_at_least_as_far_as_it_says() -> None:
    pace = Pace(window_seconds=10)
    for now, count in ((0, 0), (4, 60), (8, 60), (12, 60)):
        pace.add(now, count)
    assert pace.per_second == pytest.approx(5)


def test_two_looks_at_the_same_moment_tell_no_pace() -> None:
    pace = Pace()
    pace.add(1, 5)
    pace.add(1, 6)
    assert pace.per_second is None


def test_a_count_that_falls_tells_no_time_left() -> None:
    pace = Pace()
    pace.add(1, 50)
    pace.add(2, 40)
    assert pace.seconds_for(10) is None


def test_nothing_is_said_of_the_time_left_while_nothing_moves() -> None:
    update = observe((0, job_with(done=5)), (10, job_with(done=5)))
    assert (update.seconds_left, observe((0, job_with())).output_throughput) == (None, None)


def test_time_left_and_speed_follow_from_what_was_seen() -> None:
    update = observe((0, job_with()), (10, job_with(done=20, tokens=400)), workers=(SHARED,))
    assert (update.seconds_left, update.output_throughput) == pytest.approx((40, 40))
    assert update.movement == "20/100 lines, 40.0 tok/s, 40 s left"


def test_nothing_is_said_of_speed_while_nobody_works_on_the_job() -> None:
    moments = ((0, job_with()), (10, job_with(done=20, tokens=400)))
    for workers in ((), (report(jobs=("job-2",)),)):
        update = observe(*moments, workers=workers)
        assert (update.seconds_left, update.output_throughput, update.movement) == (None, None, "20/100 lines")


def test_workers_that_do_only_this_job_tell_its_speed_before_any_line_is_finished() -> None:
    mine, shared = report(jobs=("job-1",)), report(worker_id="other", jobs=("job-1", "job-2"))
    assert observe((0, job_with()), workers=(mine, mine)).output_throughput == pytest.approx(246.8)
    assert observe((0, job_with()), workers=(mine, shared)).output_throughput is None


def test_the_headline_says_why_nothing_moves() -> None:
    queued = job_with(state=JobState.QUEUED)
    loading = msgspec.structs.replace(report(), state="loading")
    assert observe((0, queued)).headline == "waiting for a worker that serves demo"
    assert JobObserver().update(queued, (), 0, "free space").headline == "waiting for free space"
    assert observe((0, queued), workers=(report("another"),)).headline == "waiting for a worker that serves demo"
    assert observe((0, queued), workers=(loading,)).headline == "loading demo"
    assert observe((0, queued), workers=(loading, report())).headline == "queued"
    assert observe((0, job_with(done=100, state=JobState.COMPLETED))).headline == "completed"


def test_the_headline_says_what_a_model_that_loads_for_long_does() -> None:
    queued = job_with(state=JobState.QUEUED)
    loading = msgspec.structs.replace(report(), state="loading", loading_step="reading the weights")
    assert observe((0, queued), (4.9, queued), workers=(loading,)).headline == "loading demo"
    assert observe((0, queued), (5, queued), workers=(loading,)).headline == "loading demo (reading the weights)"
    assert observe((0, queued), (5, queued), workers=(loading, report())).headline == "queued"
    silent = msgspec.structs.replace(loading, loading_step="")
    assert observe((0, queued), (5, queued), workers=(silent,)).headline == "loading demo"


def test_a_long_reason_fits_a_terminal() -> None:
    stream = io.StringIO()
    loading = msgspec.structs.replace(
        report("Qwen/Qwen3-0.6B"), state="loading", loading_step="building the C++ kernels, once"
    )
    queued = job_with(state=JobState.QUEUED)
    job = msgspec.structs.replace(queued, spec=msgspec.structs.replace(queued.spec, model="Qwen/Qwen3-0.6B"))
    with BarDisplay(console_on(stream, terminal=True)) as display:
        display.show(observe((0, job), (6, job), workers=(loading,)))
    lines = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "\n").splitlines()
    (line,) = {line for line in lines if "loading" in line}
    assert line.startswith("loading Qwen/Qwen3-0.6B (building the C++ kernels, once) ")
    assert line.endswith(" 0/100 lines")


def test_a_log_file_gets_a_line_every_ten_seconds_and_at_each_change() -> None:
    stream, clock = io.StringIO(), iter([0.0, 1.0, 9.0, 10.0, 11.0, 12.0])
    with LineDisplay(console_on(stream), clock=lambda: next(clock)) as display:
        for done in (0, 1, 2, 3, 4):
            display.show(observe((0, job_with(done=done)), workers=(report(),)))
        display.show(observe((0, job_with(done=100, state=JobState.COMPLETED))))
    assert stream.getvalue().splitlines() == [
        "in_progress: 0/100 lines",
        "in_progress: 3/100 lines",
        "completed: 100/100 lines",
    ]


def test_a_terminal_gets_a_bar_of_its_width_with_room_for_ctrl_c() -> None:
    stream = io.StringIO()
    with BarDisplay(console_on(stream, terminal=True)) as display:
        display.show(observe((0, job_with()), (10, job_with(done=20, tokens=400)), workers=(SHARED,)))
    lines = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "\n").splitlines()
    assert [line for line in lines if line.endswith("20/100 lines, 40.0 tok/s, 40 s left") and len(line) == 78]
    assert max(map(len, lines)) == 78


class RestartingStore:
    """Gives these answers, and is away where one is None."""

    def __init__(self, answers: list[Job | None], workers: list[WorkerReport] | None = None) -> None:
        self.jobs = RestartingReader(answers)
        self.fleet = AskedFleet(workers or [])


class RestartingReader:
    def __init__(self, answers: list[Job | None]) -> None:
        self._answers = iter(answers)

    def get(self, job_id: str) -> Job:
        answer = next(self._answers)
        if answer is None:
            raise StoreUnavailable("The server is restarting.")
        return answer


class AskedFleet:
    def __init__(self, workers: list[WorkerReport]) -> None:
        self._workers = workers
        self.asked_for_workers = 0

    def workers(self) -> list[WorkerReport]:
        self.asked_for_workers += 1
        return self._workers


def test_watching_bridges_a_restart_of_the_store() -> None:
    stream = io.StringIO()
    ended = job_with(done=100, state=JobState.COMPLETED)
    store = RestartingStore([job_with(), None, None, ended])
    assert watch_job(store, "job-1", console_on(stream), poll_seconds=0) == ended  # type: ignore[arg-type]
    said = stream.getvalue()
    assert said.count("Trying again") == 1
    assert "The store answers again." in said


def test_a_watcher_is_told_once_of_a_cache_that_is_too_small() -> None:
    full = msgspec.structs.replace(report(jobs=("job-1",)), held_back=59, kv_cache_bytes_wanted=5 * 2**29)
    roomy = report(worker_id="other", jobs=("job-1",))
    ended, stream = job_with(done=100, state=JobState.COMPLETED), io.StringIO()
    store = RestartingStore([job_with(), job_with(), ended], [roomy, full])
    watch_job(store, "job-1", console_on(stream), poll_seconds=0)  # type: ignore[arg-type]
    said = [line for line in stream.getvalue().splitlines() if "cache" in line]
    assert said == [
        "The KV cache has room for 5 of 64 sequences. More run together with `--kv-cache-memory 3GiB` on the worker."
    ]


def test_a_watcher_is_told_again_of_a_cache_if_the_sequences_have_doubled_since() -> None:
    """At first nobody knows how long the completions become."""
    ended, stream = job_with(done=100, state=JobState.COMPLETED), io.StringIO()
    store = RestartingStore([*[job_with()] * 4, ended])
    sizes = iter((2, 3, 4, 7, 7))
    store.fleet.workers = lambda: [  # type: ignore[method-assign]
        msgspec.structs.replace(report(jobs=("job-1",)), held_back=59, kv_cache_bytes_wanted=next(sizes) * 2**30)
    ]
    watch_job(store, "job-1", console_on(stream), poll_seconds=0)  # type: ignore[arg-type]
    said = [line for line in stream.getvalue().splitlines() if "cache" in line]
    assert [line.partition("--kv-cache-memory ")[2].partition("`")[0] for line in said] == ["2GiB", "4GiB"]


def test_nothing_is_said_of_the_cache_of_a_worker_that_does_something_else() -> None:
    full = msgspec.structs.replace(report(jobs=("job-2",)), held_back=59, kv_cache_bytes_wanted=5 * 2**29)
    assert observe((0, job_with()), workers=(full, report(jobs=("job-1",)))).cache_room is None
    assert observe((0, job_with()), workers=(full,)).cache_room is None


def test_a_quiet_watcher_asks_nothing_of_the_workers() -> None:
    ended = job_with(done=100, state=JobState.COMPLETED)
    quiet = Console(verbosity=-1)
    store = RestartingStore([job_with(), ended])
    assert watch_job(store, "job-1", quiet, poll_seconds=0) == ended  # type: ignore[arg-type]
    assert store.fleet.asked_for_workers == 0


def test_watching_a_store_that_never_answered_is_an_error_at_once() -> None:
    with pytest.raises(StoreUnavailable):
        watch_job(RestartingStore([None]), "job-1", console_on(io.StringIO()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        (figures.rate(1532.4), "1,532"),
        (figures.rate(12.34), "12.3"),
        (figures.rate(0.517), "0.52"),
        (figures.rate(None), "-"),
        (figures.seconds(0.42), "0.42 s"),
        (figures.seconds(59.97), "1 min 00 s"),
        (figures.seconds(185.2), "3 min 05 s"),
        (figures.seconds(7620), "2 h 07 min"),
        (figures.milliseconds(812.3), "812 ms"),
        (figures.milliseconds(12_400), "12.4 s"),
        (figures.about(40.4), "40 s"),
        (figures.about(185.2), "3 min"),
        (figures.about(7620), "2 h 07 min"),
        (figures.size(512 * 2**20), "512 MiB"),
        (figures.size(3 * 2**29), "1.5 GiB"),
        (figures.percent(0.256), "26%"),
    ],
)
def test_figures_read_well(shown: str, meant: str) -> None:
    assert shown == meant


def test_text_becomes_harmless_and_stays_readable() -> None:
    assert harmless("naïve 日本 👍") == "naïve 日本 👍"
    assert harmless("a\x1b[2Jb\r\n\t\u202e\ud800\x7f") == r"a\x1b[2Jb\r\n\t\u202e\ud800\x7f"
