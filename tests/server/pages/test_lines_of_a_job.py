"""The pages of a job's lines: all of them, a search, and one line."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.records.job import ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.prompt import Prompt
from jobs.stores.protocol import JobStore
from server.pages.job import search
from testing.jobs.sample_jobs import new_job, submit
from tests.server.pages.browsing import Browser, SeenPage
from tests.server.pages.conftest import Site


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("from=4", [4, 5, 6]),
        ("from=999", []),
        ("show=failed", [2, 6]),
        ("show=failed&from=3", [6]),
        ("q=TOO+LONG", [2, 6]),
        ("q=what+is+3", [4]),
        ("q=line-4", [5]),
        ("q=nowhere", []),
    ],
)
def test_lines_are_found_by_their_texts_and_their_numbers(
    site: Site, browser: Browser, query: str, numbers: list[int]
) -> None:
    site.finish(site.own_job(), {1: "It is too long.", 5: "It is too long."})
    page = browser.open(f"/jobs/job-1/lines?{query}")
    assert [int(link.rpartition("/")[2]) for link in page.links if "/lines/" in link] == numbers


def test_a_search_that_takes_too_long_says_how_far_it_got_and_goes_on(
    site: Site,
) -> None:
    site.finish(site.own_job(lines=9))
    reader = site.stores.jobs.jobs
    found = search.find_lines(reader, reader.get("job-1"), search.LineWish(search="line-8"), max_seconds=-1.0)
    assert (found.lines, found.reached, found.is_end) == ([], 3, False)
    further = search.find_lines(reader, reader.get("job-1"), search.LineWish(found.reached, search="line-8"), 60.0)
    assert ([line.prompt.index for line in further.lines], further.is_end) == ([8], True)


@pytest.mark.parametrize(
    ("prompt", "needle"),
    [
        (Prompt(0, "a", text="Straße nach Köln"), "STRASSE NACH KÖLN"),
        (Prompt(0, "a", text='He said "no" to \\ and\ttabs.'), 'said "NO"'),
        (Prompt(0, "a", text='He said "no" to \\ and\ttabs.'), "to \\ and\ttabs"),
        (Prompt(0, "a", token_ids=(12, 7, 99)), "12 7"),
        (Prompt(0, "a", text="It is true, 1 of 2 is null."), "true"),
        (Prompt(0, "a", messages=({"role": "user", "content": "Hi", "name": "Bob"},)), "bob"),
        (Prompt(0, "a", messages=({"role": "user", "content": "Hi", "size": 5, "name": "B"},)), '5,"name'),
        (Prompt(0, "a", messages=({"role": "user", "content": "Hi", "on": True, "x": 5},)), "true"),
        (Prompt(0, "a", text="one", more_prompts=("two",)), "two"),
        (Prompt(0, "line-A/1"), "LINE-a/1"),
    ],
)
def test_a_text_is_found_however_the_store_has_written_it(store: JobStore, prompt: Prompt, needle: str) -> None:
    spec = new_job(new_job_id(time.time()), lines=2, shard_size=1, model="of-nobody")
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), [prompt])
    store.submissions.add_shard(ShardRef(spec.id, 1), [Prompt(1, "b", text="xyz")])
    found = search.find_lines(store.jobs, store.jobs.get(spec.id), search.LineWish(search=needle), 60.0)
    store.control.delete(spec.id)
    assert [line.prompt.id for line in found.lines] == [prompt.id]
    assert (found.reached, found.is_end) == (2, True)


def test_a_search_leaves_no_added_line_out(store: JobStore) -> None:
    spec = new_job(new_job_id(time.time()), lines=3, shard_size=2, model="of-nobody")
    submit(store, spec)
    store.submissions.extend(spec, [[Prompt(3, "c", text="xyz")], [Prompt(4, "d", text="The needle.")]])
    seen: list[search.LinePage] = []
    wish = search.LineWish(search="needle")
    while not seen or not seen[-1].is_end:
        seen.append(search.find_lines(store.jobs, store.jobs.get(spec.id), wish, -1.0))
        wish = replace(wish, first=seen[-1].reached)
    store.control.request_cancel(spec.id)
    store.control.delete(spec.id)
    assert [page.reached for page in seen] == [2, 3, 4, 5]
    assert [line.prompt.id for line in seen[-1].lines] == ["d"]


def numbers_on(page: SeenPage) -> list[int]:
    """The numbers of the lines that a page shows."""
    return [int(link.rpartition("/")[2]) for link in page.links if "/lines/" in link]


def parts_of(browser: Browser, path: str) -> list[SeenPage]:
    """A page of lines, and the parts that a script asks for until the page is complete."""
    parts = [browser.open(path)]
    while asked := [said["hx-get"] for _, said in parts[-1].tags if "hx-get" in said]:
        parts.append(browser.open(asked[0], **{"hx-request": "true"}))
    return parts


@pytest.fixture
def hasty(tmp_path: Path) -> Site:
    """A service that reads one shard of lines per request."""
    return Site(tmp_path, auth=False, search_seconds=-1.0)


def test_a_search_goes_on_by_itself_until_the_job_is_read(hasty: Site) -> None:
    hasty.finish(hasty.own_job(lines=9), {1: "It is too long.", 7: "It is too long."})
    first, *others = parts_of(hasty.browser(), "/jobs/job-1/lines?q=TOO+long")
    assert [numbers_on(part) for part in (first, *others)] == [[2], [], [8]]
    assert "Looked at 3 of 9 lines." in first.text
    assert "Looked at all lines." in others[-1].text
    assert "<html" not in others[0].source


def test_without_a_script_a_link_goes_on_with_the_search(hasty: Site) -> None:
    hasty.finish(hasty.own_job(lines=9), {7: "It is too long."})
    browser = hasty.browser()
    page = browser.open("/jobs/job-1/lines?q=too+long")
    seen = [numbers_on(page)]
    while links := [link for link in page.links if link.startswith("?q=")]:
        page = browser.open(f"/jobs/job-1/lines{links[0]}")
        seen.append(numbers_on(page))
    assert seen == [[], [], [8]]
    assert "Looked at all lines from 7 on." in page.text


def test_a_search_that_goes_on_by_itself_fills_one_page(hasty: Site) -> None:
    hasty.own_job(lines=120)
    parts = parts_of(hasty.browser(), "/jobs/job-1/lines?q=what")
    assert [number for part in parts for number in numbers_on(part)] == list(range(1, 51))
    assert "?q=what&from=51" in parts[-1].links
    assert all("No line fits." not in part.text for part in parts)


def test_a_search_without_a_find_says_so_at_its_end(hasty: Site) -> None:
    hasty.own_job(lines=9)
    *parts, last = parts_of(hasty.browser(), "/jobs/job-1/lines?q=nowhere&from=4")
    assert "No line fits." in last.text
    assert "Looked at all lines from 4 on." in last.text
    assert all("No line fits." not in part.text for part in parts)


@pytest.mark.parametrize("query", ["from=x", "from=1&shown=x", "from=1&began=-1", "shown=999999999999"])
def test_a_query_of_lines_that_is_none_is_refused(browser: Browser, site: Site, query: str) -> None:
    site.own_job()
    assert browser.open(f"/jobs/job-1/lines?{query}", **{"hx-request": "true"}).status == 400


def test_a_page_has_fifty_lines_and_leads_to_the_next(site: Site, browser: Browser) -> None:
    site.own_job(lines=120)
    page, seen = browser.open("/jobs/job-1/lines"), []
    while True:
        numbers = [int(link.rpartition("/")[2]) for link in page.links if "/lines/" in link]
        assert len(numbers) <= 50
        seen += numbers
        more = [link for link in page.links if link.startswith("?from=") and int(link[6:]) > numbers[0]]
        if not more:
            break
        page = browser.open(f"/jobs/job-1/lines{more[-1]}")
    assert seen == list(range(1, 121))


def test_a_line_is_shown_as_a_whole_with_its_result(site: Site, browser: Browser) -> None:
    site.finish(site.own_job(), text="A long answer. " * 1000)
    listed, one = browser.open("/jobs/job-1/lines"), browser.open("/jobs/job-1/lines/2")
    assert "… all of it" in listed.text
    assert one.text.count("A long answer.") == 2000  # the text, and the result as JSON
    assert '"completion": "A long answer.' in one.text
    for number in (0, 7, 10**12):
        assert browser.open(f"/jobs/job-1/lines/{number}").status == 404
