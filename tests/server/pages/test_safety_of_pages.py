"""What keeps other sites, and the text of models, from doing harm through the pages."""

from __future__ import annotations

import re

import pytest

from tests.server.pages.browsing import HOST
from tests.server.pages.conftest import Site

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
PAGES = ("/", "/jobs/job-1", "/jobs/job-1/lines", "/jobs/job-1/lines/1", "/jobs/job-1/errors", "/fleet", "/submit")
OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def evil(site: Site) -> Site:
    """A service with a job whose name, prompts, texts and errors are HTML."""
    site.finish(site.own_job(EVIL), {0: f"The prompt {EVIL} is too long."}, EVIL)
    return site


@pytest.mark.parametrize("path", PAGES)
def test_text_of_models_and_files_is_shown_and_never_becomes_html(evil: Site, path: str) -> None:
    page = evil.browser().open(path)
    assert page.status == 200
    assert "onerror" not in page.source or "&lt;img src=x onerror=alert(1)&gt;" in page.source
    assert [tag for tag, said in page.tags if tag == "img" or "onerror" in said] == []
    if path not in ("/fleet", "/submit"):
        assert EVIL in page.text


@pytest.mark.parametrize("path", [*PAGES, "/no-such-page", "/jobs/job-0", "/login"])
def test_no_page_has_anything_inline_or_from_another_host(evil: Site, path: str) -> None:
    page = evil.browser().open(path, accept="text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
    assert "unsafe" not in policy
    for tag, said in page.tags:
        assert tag != "style"
        assert tag != "script" or said["src"].startswith("/static/")
        assert [name for name in said if name.startswith("on") or name == "style"] == []
        addresses = [said[name] for name in ("src", "href", "action", "hx-get") if name in said]
        assert [each for each in addresses if not re.match(r"/(?!/)|#|\?", each)] == []
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/no-such-page", "text/html,*/*"), ("/v1/no-such-page", "text/html"), ("/no-such-page", "*/*")],
)
def test_an_unknown_address_is_a_page_for_a_browser_and_json_for_a_client(site: Site, path: str, accept: str) -> None:
    answer = site.browser().http.get(path, headers={"accept": accept})
    is_page = path == "/no-such-page" and "html" in accept
    assert answer.status_code == 404
    assert answer.headers["content-type"] == ("text/html; charset=utf-8" if is_page else "application/json")
    assert f"Invalid URL (GET {path})" in answer.text


@pytest.mark.parametrize("action", ["pause", "cancel", "delete", "again"])
def test_a_form_without_the_sessions_token_changes_nothing(site: Site, action: str) -> None:
    site.own_job()
    browser, other = site.browser(), site.browser()
    token = other.open("/jobs/job-1").form("/jobs/job-1/pause").fields["token"]
    browser.open("/jobs/job-1")
    for fields in ({}, {"token": ""}, {"token": "x"}, {"token": token}, {"token": "é"}):
        answer = browser.http.post(f"/jobs/job-1/{action}", data=fields, headers=OWN)
        assert (answer.status_code, "another session" in answer.text) == (403, True)
    job = site.stores.jobs.jobs.get("job-1")
    assert (job.paused, job.cancel_requested) == (False, False)


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": HOST}, False),
        ({"origin": HOST}, True),  # over plain HTTP from another machine, browsers send no sec-fetch-site
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost.evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_forms_of_our_own_pages_are_taken(site: Site, headers: dict[str, str], is_ours: bool) -> None:
    site.own_job()
    browser = site.browser()
    form = browser.open("/jobs/job-1").form("/jobs/job-1/pause")
    answer = browser.http.post(form.action, data=form.fields, headers=headers)
    assert answer.status_code == (200 if is_ours else 403)
    assert site.stores.jobs.jobs.get("job-1").paused is is_ours


@pytest.mark.parametrize(("address", "is_secure"), [("http://localhost", False), ("https://localhost", True)])
def test_scripts_and_other_sites_cannot_use_the_cookie(site: Site, address: str, is_secure: bool) -> None:
    said = site.browser(address=address).open("/").headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "max-age=43200" in said
    assert ("secure" in said) is is_secure


def test_pages_answer_only_to_known_host_names(site: Site) -> None:
    answer = site.browser().http.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 421


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example", "/\\evil.example", "x", "/\nx"])
def test_a_form_leads_to_no_other_host(site: Site, target: str) -> None:
    browser = site.browser()
    form = browser.open("/").form("/theme")
    answer = browser.http.post(
        "/theme", data=form.fields | {"next": target, "theme": "dark"}, headers=OWN, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_other_methods_are_refused(site: Site) -> None:
    site.own_job()
    browser = site.browser()
    assert browser.http.put("/jobs/job-1", headers=OWN).status_code == 405
    assert browser.http.delete("/login", headers=OWN).status_code == 405
    assert browser.http.get("/jobs/job-1/pause").status_code == 405
    assert browser.http.head("/jobs/job-1").text == ""
