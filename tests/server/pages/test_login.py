"""Keys, sessions and projects on the pages."""

from __future__ import annotations

import pytest

from server.access.key_file import read_key_file, remove_key
from tests.server.pages.conftest import Site

PAGES = ("/", "/jobs/job-1", "/jobs/job-1/lines", "/jobs/job-1/download/results", "/fleet", "/submit")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_the_login_and_then_to_itself(guarded: Site, path: str) -> None:
    guarded.finish(guarded.own_job())
    browser = guarded.browser()
    login = browser.open(path)
    assert login.path.startswith("/login?next=")
    assert "sums.jsonl" not in login.source
    assert browser.send(login.form("/login"), key=guarded.admin_key).path == path


def test_a_part_of_a_page_without_a_session_is_refused(guarded: Site) -> None:
    assert guarded.browser().open("/", **{"hx-request": "true"}).status == 401


def test_a_service_without_keys_needs_no_login(site: Site) -> None:
    page = site.browser().open("/login")
    assert (page.status, page.path) == (200, "/")
    assert not page.has_form("/logout")


@pytest.mark.parametrize("key", ["", "sk-qb-unknown", "é"])
def test_an_unknown_key_begins_no_session(guarded: Site, key: str) -> None:
    browser = guarded.browser()
    answer = browser.send(browser.open("/login").form("/login"), key=key)
    assert (answer.status, "unknown or has expired" in answer.text) == (401, True)
    assert "set-cookie" not in answer.headers
    assert not key or key not in answer.source


def test_a_key_that_cannot_read_batches_begins_no_session(guarded: Site) -> None:
    browser = guarded.browser()
    answer = browser.send(browser.open("/login").form("/login"), key=guarded.new_key("p", "online"))
    assert (answer.status, "lacks the right `batch`" in answer.text) == (403, True)


def test_a_session_ends_with_a_logout_and_with_its_key(guarded: Site) -> None:
    browser = guarded.browser(guarded.admin_key)
    cookie = browser.http.cookies["qwen_batch_session"]
    assert browser.send(browser.open("/").form("/logout")).path == "/login"
    browser.http.cookies.set("qwen_batch_session", cookie)
    assert browser.open("/").path.startswith("/login")

    key = guarded.new_key("first")
    second = guarded.browser(key)
    assert second.open("/").path == "/"
    remove_key(guarded.keys_file, read_key_file(guarded.keys_file).keys[-1].id)
    assert second.open("/").path.startswith("/login")


def test_a_project_sees_its_own_batches_and_no_others(guarded: Site) -> None:
    ours, theirs = guarded.batch("first", "ours.jsonl"), guarded.batch("second", "theirs.jsonl")
    browser = guarded.browser(guarded.new_key("first"))
    page = browser.open("/")
    assert ("ours.jsonl" in page.text, "theirs.jsonl" in page.text) == (True, False)
    assert browser.open(f"/jobs/{ours.id}").status == 200
    unknown = theirs.id[:-1] + ("0" if theirs.id[-1] != "0" else "1")
    for part in ("", "/lines", "/lines/1", "/errors", "/download/input", "/delete"):
        answers = [browser.open(f"/jobs/{each}{part}") for each in (theirs.id, unknown)]
        assert [answer.status for answer in answers] == [404, 404]
        assert answers[0].source.replace(theirs.id, unknown) == answers[1].source
    token = page.form("/theme").fields["token"]
    for action in ("pause", "cancel", "delete", "again"):
        sent = browser.http.post(
            f"/jobs/{theirs.id}/{action}", data={"token": token}, headers={"sec-fetch-site": "same-origin"}
        )
        assert sent.status_code == 404
    assert guarded.stores.batches.get("second", theirs.id) == theirs


def test_jobs_of_the_command_line_are_for_admins_of_the_default_project(guarded: Site) -> None:
    guarded.own_job()
    for project, rights, sees in (
        ("default", ("batch", "admin"), True),
        ("default", ("batch",), False),
        ("first", ("batch", "admin"), False),
    ):
        browser = guarded.browser(guarded.new_key(project, *rights))
        assert ("sums.jsonl" in browser.open("/").text) is sees
        assert browser.open("/jobs/job-1").status == (200 if sees else 404)


def test_a_job_of_a_batch_is_found_by_its_own_id_in_its_project_alone(guarded: Site) -> None:
    batch = guarded.batch("first")
    guarded.own_job(job_id="job-2", project="first", batch=batch.id)
    page = guarded.browser(guarded.new_key("first")).open("/jobs/job-2")
    assert (page.status, batch.id in page.text) == (200, True)
    assert guarded.browser(guarded.new_key("second")).open("/jobs/job-2").status == 404
    listed = guarded.browser(guarded.admin_key).open("/")
    assert "job-2" not in listed.source


def test_host_names_of_workers_are_for_admins(guarded: Site) -> None:
    from testing.jobs.sample_jobs import worker_report

    guarded.stores.jobs.fleet.report_worker(worker_report(host="secret-host"), 60.0)
    seen = [guarded.browser(key).open("/fleet").text for key in (guarded.admin_key, guarded.new_key("first"))]
    assert ["secret-host" in text for text in seen] == [True, False]
