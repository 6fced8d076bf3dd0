"""Submitting a file on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.batches.batch import NATIVE
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
        (chat_line(1) | {"url": "/v1/embeddings"}, "/v1/chat/completions", None),  # the import names the fault
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


def test_a_form_of_another_site_is_refused_before_its_file_is_read(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    form = browser.open("/submit").form("/submit")
    answer = browser.http.post(
        "/submit", data=form.fields, files={"file": ("x", b"{}")}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403
    assert list((tmp_path / "files").glob("*/file-*")) == []
