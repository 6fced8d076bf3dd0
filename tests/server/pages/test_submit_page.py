"""Submitting a file on the page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from msgspec import structs

from jobs.batches.batch import NATIVE, BatchPhase, Counts
from jobs.batches.batch_records import change
from jobs.uploads.file_records import Page
from tests.server.conftest import chat_line, jsonl
from tests.server.pages.browsing import Browser, SeenPage
from tests.server.pages.conftest import Site

NATIVE_LINE = {"id": "q-1", "prompt": "What is 2 + 3?", "colour": "red"}


def sent(browser: Browser, content: bytes, name: str = "in.jsonl", **fields: str) -> SeenPage:
    return browser.send(browser.open("/submit").form("/submit"), {"file": (name, content)}, **fields)


@pytest.mark.parametrize(
    ("line", "endpoint", "model"),
    [
        (chat_line(1), "/v1/chat/completions", None),
        (chat_line(1) | {"url": "/v1/completions"}, "/v1/completions", None),
        (chat_line(1) | {"url": "/v1/moderations"}, "/v1/chat/completions", None),  # the import names the fault
        (NATIVE_LINE, NATIVE, "demo"),
    ],
)
def test_the_first_line_decides_the_format(
    site: Site, browser: Browser, line: dict[str, object], endpoint: str, model: str | None
) -> None:
    page = sent(browser, jsonl(line), model="demo", window="90m", priority="-5")
    batch = site.stores.batches.get("default", page.path.removeprefix("/jobs/"))
    assert batch is not None
    assert (batch.endpoint, batch.model, batch.priority, batch.completion_window) == (endpoint, model, -5, "90m")
    assert batch.expires_at - batch.created_at == 5400
    assert [entry.id for entry in site.stores.agenda.take(10, 1.0)] == [batch.id]


@pytest.mark.parametrize(
    ("content", "fields", "status", "message"),
    [
        (b"", {}, 400, "The file is empty."),
        (b"hello\n", {}, 400, "The first line of the file is no JSON object."),
        (b"\x1f\x8b123\n", {}, 400, "compressed (gzip)"),
        (jsonl(NATIVE_LINE), {"model": ""}, 400, "Choose a model"),
        (jsonl(NATIVE_LINE), {"window": "9s"}, 400, "The time limit '9s' is not valid."),
        (jsonl(NATIVE_LINE), {"window": "soon"}, 400, "The time limit 'soon' is not valid."),
        (jsonl(NATIVE_LINE), {"priority": "101"}, 400, "The priority '101' is not valid."),
        (jsonl(NATIVE_LINE), {"priority": "high"}, 400, "The priority 'high' is not valid."),
        (jsonl(NATIVE_LINE), {"token": "x"}, 403, "another session"),
    ],
)
def test_a_refused_form_is_shown_again_with_its_fault(
    site: Site, browser: Browser, content: bytes, fields: dict[str, str], status: int, message: str
) -> None:
    page = sent(browser, content, **({"model": "demo"} | fields))
    assert (page.status, message in page.text) == (status, True)
    assert page.has_form("/submit")
    assert site.stores.agenda.take(10, 1.0) == [] or fields == {"model": ""}


def limited(site: Site, **limits: int) -> str:
    """Limit the project `tight`, and return a key of it."""
    key = site.new_key("tight")
    content = json.loads(site.keys_file.read_text())
    site.keys_file.write_text(json.dumps(content | {"limits": {"tight": limits}}))
    return key


@pytest.mark.parametrize(
    ("limit", "words"), [("uploads_per_hour", "2 uploads per hour"), ("batches_per_hour", "2 batches per hour")]
)
def test_what_a_visitor_submits_counts_for_the_rates_of_their_key(guarded: Site, limit: str, words: str) -> None:
    browser = guarded.browser(limited(guarded, **{limit: 2}))
    for _ in range(2):
        assert sent(browser, jsonl(chat_line(1))).path.startswith("/jobs/")
    refused = sent(browser, jsonl(chat_line(1)))
    assert (refused.status, words in refused.text, refused.has_form("/submit")) == (429, True, True)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(guarded.stores.batches.page("tight", Page(10))) == 2
    other = guarded.browser(guarded.new_key("roomy"))
    assert sent(other, jsonl(chat_line(1))).path.startswith("/jobs/")


def test_a_batch_that_runs_again_counts_for_the_rate_of_batches(guarded: Site) -> None:
    browser = guarded.browser(limited(guarded, batches_per_hour=1))
    facts = {"phase": BatchPhase.COMPLETED, "total": 3, "counts": Counts(2, 1), "ended_at": time.time()}
    batch = guarded.batch("tight")
    change(guarded.stores.batches, "tight", batch.id, lambda seen: structs.replace(seen, **facts))
    page = browser.open(f"/jobs/{batch.id}")
    assert browser.send(page.form(f"/jobs/{batch.id}/again")).status == 200
    assert browser.send(page.form(f"/jobs/{batch.id}/again")).status == 429


def test_a_form_of_another_site_is_refused_before_its_file_is_read(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    form = browser.open("/submit").form("/submit")
    answer = browser.http.post(
        "/submit", data=form.fields, files={"file": ("x", b"{}")}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403
    assert list((tmp_path / "files").glob("*/file-*")) == []
