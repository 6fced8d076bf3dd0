"""The list of jobs, the page of a job, its lines and its actions, in a browser without scripts."""

from __future__ import annotations

import json
import time

import pytest
from msgspec import structs

from jobs.batches.batch import BatchError, BatchPhase, Counts
from jobs.batches.batch_records import change
from jobs.errors import JobNotFound
from jobs.records.job import JobState, ShardRef
from jobs.records.shard_stats import TimelineSample
from server.pages.job.book import ENTRIES_PER_PAGE
from server.pages.plots import plot_of_samples
from testing.jobs.sample_jobs import completed, worker_report
from tests.server.pages.browsing import Browser
from tests.server.pages.conftest import Site

PART = {"hx-request": "true"}


def test_an_empty_list_says_how_to_begin(site: Site, browser: Browser) -> None:
    assert "qwen-batch worker" in browser.open("/").text
    site.stores.jobs.fleet.report_worker(worker_report(), 60.0)
    page = browser.open("/")
    assert "/submit" in page.links
    assert "qwen-batch worker" not in page.text


def test_a_job_that_no_worker_runs_shows_no_time_that_is_left(site: Site, browser: Browser) -> None:
    site.own_job(lines=6)
    lease = site.stores.jobs.work.lease(ShardRef("job-1", 0), "worker-1", 60.0)
    assert lease is not None
    site.stores.jobs.work.write(lease, [completed(prompt.index) for prompt in site.stores.jobs.work.pending(lease)])
    assert " left" not in browser.open("/jobs/job-1").text
    site.stores.jobs.fleet.report_worker(worker_report(), 60.0)
    assert " left" in browser.open("/jobs/job-1").text


def test_a_fleet_without_workers_names_the_model_that_lines_wait_for(site: Site, browser: Browser) -> None:
    assert "qwen-batch worker --model demo" in browser.open("/fleet").text
    site.own_job(model="Qwen/Qwen3-4B")
    assert "qwen-batch worker --model Qwen/Qwen3-4B" in browser.open("/fleet").text


def test_a_list_with_jobs_that_nobody_can_run_says_so(site: Site, browser: Browser) -> None:
    spec = site.own_job()
    assert "No worker is running, so no line gets a result. Start one: qwen-batch worker --model demo" in (
        browser.open("/").text
    )
    site.finish(spec)
    assert "No worker" not in browser.open("/").text
    site.own_job(job_id="job-2")
    site.stores.jobs.fleet.report_worker(worker_report(), 60.0)
    assert "No worker" not in browser.open("/").text


def test_the_list_goes_on_to_the_oldest_job(site: Site, browser: Browser) -> None:
    now = time.time()
    names = [f"file-{number:03}.jsonl" for number in range(2 * ENTRIES_PER_PAGE + 5)]
    for number, name in enumerate(names):
        if number % 3:
            site.own_job(name, f"job-{number}", lines=1, created_at=now - number)
        else:
            site.batch("default", name, now - number)
    seen: list[str] = []
    address = "/"
    while address:
        page = browser.open(address)
        seen += [name for name in names if f">{name}<" in page.source]
        address = next((link for link in page.links if "before=" in link), "")
    assert seen == names


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("state=completed", {"one"}),
        ("state=queued", {"two"}),
        ("state=paused", set()),
        ("q=TWO", {"two"}),
        ("q=job-1", {"one"}),
        ("q=demo&state=queued", {"two"}),
        ("q=zzz", set()),
    ],
)
def test_the_list_can_be_narrowed(site: Site, browser: Browser, query: str, seen: set[str]) -> None:
    site.finish(site.own_job("one.jsonl", "job-1"))
    site.own_job("two.jsonl", "job-2")
    page = browser.open(f"/?{query}")
    assert {name for name in ("one", "two") if f"{name}.jsonl" in page.text} == seen
    assert seen or "No job fits." in page.text


@pytest.mark.parametrize("query", ["before=x", "before=nan", "before=-1", "before=1e99", "state=unknown"])
def test_a_wrong_address_is_refused_by_name(browser: Browser, query: str) -> None:
    page = browser.open(f"/?{query}")
    assert page.status == 400
    assert query.partition("=")[2] in page.text


def test_a_part_is_sent_again_only_when_it_has_changed(site: Site, browser: Browser) -> None:
    spec = site.own_job()
    page = browser.open("/jobs/job-1")
    part = browser.open("/jobs/job-1", **PART)
    assert part.source.lstrip().startswith("<section")
    assert part.source.strip() in page.source
    same = browser.open("/jobs/job-1", **PART, **{"if-none-match": part.headers["etag"]})
    assert (same.status, same.source) == (304, "")
    site.finish(spec)
    changed = browser.open("/jobs/job-1", **PART, **{"if-none-match": part.headers["etag"]})
    assert changed.status == 200
    assert "hx-get" not in changed.source  # an ended job does not change any more


def test_a_job_is_paused_resumed_and_cancelled(site: Site, browser: Browser) -> None:
    site.own_job()
    control = site.stores.jobs.jobs
    page = browser.send(browser.open("/jobs/job-1").form("/jobs/job-1/pause"))
    assert (page.path, "paused" in page.text, control.get("job-1").paused) == ("/jobs/job-1", True, True)
    assert not page.has_form("/jobs/job-1/pause")
    page = browser.send(page.form("/jobs/job-1/resume"))
    assert (control.get("job-1").paused, site.hints.sent) == (False, [ShardRef("job-1", 0), ShardRef("job-1", 1)])
    pause = page.form("/jobs/job-1/pause")
    page = browser.send(page.form("/jobs/job-1/cancel"))
    assert (control.get("job-1").state, "cancelled" in page.text) == (JobState.CANCELLED, True)
    late = browser.send(pause)
    assert (late.status, "cancelled" in late.text) == (409, True)


def test_a_job_is_deleted_after_a_question_and_only_when_it_has_ended(site: Site, browser: Browser) -> None:
    spec = site.own_job()
    assert "has not ended" in browser.open("/jobs/job-1/delete").text
    token = browser.open("/jobs/job-1").form("/jobs/job-1/pause").fields
    refused = browser.http.post("/jobs/job-1/delete", data=token, headers={"sec-fetch-site": "same-origin"})
    assert refused.status_code == 409
    site.finish(spec)
    question = browser.open("/jobs/job-1/delete")
    assert "for good" in question.text
    assert site.stores.jobs.jobs.get("job-1").done == 6
    assert browser.send(question.form("/jobs/job-1/delete")).path == "/"
    with pytest.raises(JobNotFound):
        site.stores.jobs.jobs.get("job-1")
    assert browser.open("/jobs/job-1").status == 404


def test_failed_lines_of_a_job_of_the_command_line_run_again_in_place(site: Site, browser: Browser) -> None:
    site.finish(site.own_job(), {1: "too long"})
    page = browser.send(browser.open("/jobs/job-1").form("/jobs/job-1/again"))
    assert (page.path, site.stores.jobs.jobs.get("job-1").state) == ("/jobs/job-1", JobState.QUEUED)
    assert site.hints.sent == [ShardRef("job-1", 0)]


def test_failed_lines_of_a_batch_run_again_as_a_new_batch(site: Site, browser: Browser) -> None:
    old = site.batch("default", priority=7, metadata={"team": "blue"})
    change(
        site.stores.batches,
        "default",
        old.id,
        lambda batch: structs.replace(
            batch, phase=BatchPhase.COMPLETED, total=3, counts=Counts(2, 1), ended_at=time.time()
        ),
    )
    page = browser.send(browser.open(f"/jobs/{old.id}").form(f"/jobs/{old.id}/again"))
    new = site.stores.batches.get("default", page.path.removeprefix("/jobs/"))
    assert new is not None
    assert new.id != old.id
    assert (new.input_file_id, new.endpoint, new.priority, new.metadata, new.reuse) == (
        old.input_file_id,
        old.endpoint,
        7,
        {"team": "blue"},
        True,
    )
    assert [entry.id for entry in site.stores.agenda.take(10, 1.0)] == [new.id]


def test_a_refused_file_is_shown_with_its_lines(site: Site, browser: Browser) -> None:
    faults = (BatchError("invalid_line", "temperature is 'hot'", 3, "temperature"),)
    batch = site.batch("default", phase=BatchPhase.FAILED, errors=faults)
    assert "line 3: temperature is 'hot' invalid_line" in browser.open(f"/jobs/{batch.id}").text


def test_errors_stand_in_groups_with_their_lines(site: Site, browser: Browser) -> None:
    messages = {index: f"The prompt has {3000 + index} tokens." for index in (0, 1, 4)} | {5: "Another fault."}
    site.finish(site.own_job(), messages)
    page = browser.open("/jobs/job-1")
    assert "prompt_too_long 3 lines The prompt has # tokens. 1 , 2 , 5" in page.text
    assert "prompt_too_long 1 line Another fault. 6" in page.text
    assert browser.open("/jobs/job-1/errors").text.count("The prompt has # tokens.") == 1


def test_results_and_errors_can_be_downloaded_while_the_job_runs_and_afterwards(site: Site, browser: Browser) -> None:
    spec = site.own_job('a "b"/é.jsonl')
    running = browser.http.get("/jobs/job-1/download/results")
    assert (running.text, running.headers["x-incomplete"]) == ("", "true")
    site.finish(spec, {2: "too long"})
    results, errors = (browser.http.get(f"/jobs/job-1/download/{what}") for what in ("results", "errors"))
    assert [json.loads(line)["id"] for line in results.text.splitlines()] == [f"line-{n}" for n in range(6)]
    assert [json.loads(line)["id"] for line in errors.text.splitlines()] == ["line-2"]
    assert results.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9.results.jsonl"
    assert browser.http.get("/jobs/job-1/download/input").status_code == 404
    assert browser.http.get("/jobs/job-1/download/other").status_code == 404


def test_the_speed_is_plotted_and_stands_in_a_table(site: Site, browser: Browser) -> None:
    spec, now = site.own_job(), time.time()
    samples = [TimelineSample(now + second * 1.03, worker, 50.0, 4, 0.5) for second in range(60) for worker in "ab"]
    plot = plot_of_samples(samples)
    assert plot is not None
    assert {round(column.rate) for column in plot.columns} == {100}
    assert plot_of_samples(samples[:2]) is None
    for sample in samples:
        site.stores.jobs.fleet.add_timeline(spec.id, sample)
    page = browser.open("/jobs/job-1")
    assert "highest 100" in page.text
    assert [tag for tag, _ in page.tags].count("polyline") == 1


def test_a_job_without_a_worker_says_how_to_start_one(site: Site, browser: Browser) -> None:
    site.own_job()
    assert "No worker serves demo at the moment." in browser.open("/jobs/job-1").text
    site.stores.jobs.fleet.report_worker(worker_report(), 60.0)
    assert "No worker serves" not in browser.open("/jobs/job-1").text


def test_the_fleet_shows_workers_and_what_waits_for_them(site: Site, browser: Browser) -> None:
    site.own_job(model="other")
    site.stores.jobs.fleet.report_worker(worker_report(host="near"), 60.0)
    text = browser.open("/fleet").text
    assert "near:1 ○ idle demo cpu float32" in text
    assert "other 6 1 0 needs a worker" in text


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
def test_the_colours_stay_as_they_were_chosen(browser: Browser, theme: str) -> None:
    form = browser.open("/fleet?x=1").form("/theme")
    page = browser.send(form, theme=theme)
    assert page.path == "/fleet?x=1"
    assert f'data-theme="{theme}"' in browser.open("/").source
    assert browser.send(form, theme="pink").status == 400
