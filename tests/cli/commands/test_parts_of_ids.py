"""A part of a job's id names the job, if no other job can be meant."""

from __future__ import annotations

import msgspec
import pytest

from cli.named_job import job_to_read
from jobs.errors import JobNotFound
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import new_job, submit
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli

FIRST, SECOND = "job-20261124-203455-k3f9", "job-20261125-070000-m2xz"


@pytest.fixture
def two_jobs(store: JobStore) -> JobStore:
    for job_id in (FIRST, SECOND):
        submit(store, new_job(job_id, lines=2))
    run_job(store, FIRST)
    return store


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("job-20261124", ("status", "--json")),
        ("k3f9", ("results",)),
        ("203455-k3f9", ("watch", "--json")),
    ],
)
def test_a_command_that_reads_takes_the_beginning_or_the_end(
    cli: Cli, two_jobs: JobStore, part: str, words: tuple[str, ...]
) -> None:
    assert two_jobs.jobs.get(FIRST).state.ended
    done = cli(words[0], part, *words[1:])
    whole = cli(words[0], FIRST, *words[1:])
    assert (done.returncode, done.stdout) == (0, whole.stdout)
    assert whole.stdout


@pytest.mark.parametrize(
    "words", [("cancel",), ("pause",), ("resume",), ("retry",), ("delete",), ("extend", "x.jsonl")]
)
def test_a_command_that_changes_a_job_refuses_a_beginning(cli: Cli, two_jobs: JobStore, words: tuple[str, ...]) -> None:
    before = [two_jobs.jobs.get(job_id) for job_id in (FIRST, SECOND)]
    done = cli(words[0], "job-20261125", *words[1:])
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: job-20261125 is only the beginning of an id, which is not enough to change a job.",
        f"Write the whole id or its end: {SECOND}.",
    ]
    assert [two_jobs.jobs.get(job_id) for job_id in (FIRST, SECOND)] == before


def test_a_command_that_changes_a_job_takes_the_end_and_says_which_job_that_is(cli: Cli, two_jobs: JobStore) -> None:
    done = cli("cancel", "m2xz")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"m2xz is {SECOND}.")
    assert [two_jobs.jobs.get(job_id).cancel_requested for job_id in (FIRST, SECOND)] == [False, True]
    assert cli("retry", "m2xz").returncode == 0
    assert two_jobs.jobs.get(SECOND).state == "queued"
    assert cli("delete", "203455-k3f9").stderr.splitlines()[-1] == f"Deleted {FIRST}."
    with pytest.raises(JobNotFound):
        two_jobs.jobs.get(FIRST)


@pytest.mark.parametrize("command", ["status", "delete"])
def test_a_part_that_several_jobs_have_is_refused_with_their_ids(cli: Cli, two_jobs: JobStore, command: str) -> None:
    done = cli(command, "job-2026")
    assert (done.returncode, done.stdout) == (2, "")
    assert " ".join(done.stderr.split()) == (
        f"Error: Several jobs have job-2026 in their id: {SECOND}, {FIRST}. Write more of the id."
    )


def test_the_parts_of_one_command_name_only_jobs_that_exist_before_it(cli: Cli, two_jobs: JobStore) -> None:
    twin = "job-20261126-070000-k3f9"
    submit(two_jobs, new_job(twin, lines=2))
    run_job(two_jobs, twin)
    done = cli("delete", FIRST, "k3f9")
    assert done.returncode == 2
    assert [two_jobs.jobs.get(job_id).spec.id for job_id in (FIRST, twin)] == [FIRST, twin]


@pytest.mark.parametrize("part", ["", "3f9", "203455", "K3F9", "k3f?"])
def test_a_shorter_part_or_the_middle_names_no_job(two_jobs: JobStore, part: str) -> None:
    assert job_to_read(two_jobs, "k3f9") == FIRST
    with pytest.raises(JobNotFound):
        job_to_read(two_jobs, part)


def test_a_batch_of_the_http_service_changes_only_by_its_whole_id(cli: Cli, two_jobs: JobStore) -> None:
    batch = "job-20261127-070000-b7tc"
    submit(two_jobs, msgspec.structs.replace(new_job(batch, lines=2), project="research"))
    done = cli("cancel", "b7tc")
    assert (done.returncode, f"Write its whole id: {batch}." in done.stderr) == (2, True)
    assert not two_jobs.jobs.get(batch).cancel_requested
    assert cli("status", "b7tc").returncode == 0
    assert cli("cancel", batch).returncode == 0
