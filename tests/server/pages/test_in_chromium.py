"""The pages in a real browser: scripts, the keyboard, narrow screens, both colour schemes."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn

from jobs.records.job import ShardRef
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.jobs.dashboard_sample import FAILING, HOSTILE, LONG, PAUSED, RUNNING, fill, report
from testing.jobs.sample_jobs import completed, shard_stats
from testing.processes.valkey import running_valkey
from tests.server.conftest import ServeProcess
from tests.server.pages.conftest import Site

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="this machine lacks Debian's package chromium"),
]
PATHS = (
    "/",
    "/?q=nothing",
    "/fleet",
    "/submit",
    *(f"/jobs/{job}" for job in (RUNNING, FAILING, PAUSED, LONG, HOSTILE)),
    f"/jobs/{HOSTILE}/lines",
    f"/jobs/{HOSTILE}/lines/1",
    f"/jobs/{FAILING}/lines?show=failed",
    f"/jobs/{FAILING}/delete",
)
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobStore, str]]:
    """A service over sample jobs, and its address."""
    folder = tmp_path_factory.mktemp("pages")
    with running_valkey(folder) as valkey, ServeProcess(valkey, folder) as service:
        store = connect(valkey.url)
        fill(store)
        report(store, 600.0)
        yield store, service.address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A tab, and whatever goes wrong in it."""

    def __init__(self, chromium: Any, address: str, width: int = 1280, scheme: Scheme = "light", **more: Any) -> None:
        self.troubles: list[str] = []
        self.context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, base_url=address, **more
        )
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._outside)
        self._address = address

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the tab went to another page meanwhile
            self.troubles.append(f"{request.url}: {request.failure}")

    def _outside(self, request: Any) -> None:
        if not request.url.startswith(self._address):
            self.troubles.append(f"a request to {request.url}")

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_every_page_is_accessible_fits_the_screen_and_is_silent(
    chromium: Any, served: tuple[JobStore, str], width: int, scheme: Scheme
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    with Watched(chromium, served[1], width, scheme, bypass_csp=True) as tab:  # axe puts its script into the page
        for path in PATHS:
            tab.page.goto(path)
            found = Axe().run(tab.page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert [(path, each["id"], each["nodes"][0]["html"]) for each in serious] == []
            assert tab.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert "evil" not in tab.page.title() or "<script>" in tab.page.title()
        assert tab.troubles == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_code_of_an_error_stays_on_one_line(chromium: Any, served: tuple[JobStore, str], width: int) -> None:
    with Watched(chromium, served[1], width) as tab:
        tab.page.goto(f"/jobs/{FAILING}")
        codes = tab.page.locator(".errors code")
        assert set(codes.evaluate_all("codes => codes.map(each => each.getClientRects().length)")) == {1}


def test_a_card_on_a_phone_shows_no_dash_for_a_value_that_is_missing(
    chromium: Any, served: tuple[JobStore, str], tmp_path: Path
) -> None:
    body = '{"model": "unknown", "messages": [{"role": "user", "content": "a"}]}'
    path = tmp_path / "unserved.jsonl"  # its batch fails, so it has no number of lines
    path.write_text(f'{{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {body}}}\n')
    with Watched(chromium, served[1]) as tab:
        tab.page.goto("/submit")
        tab.page.set_input_files("#file", path)
        tab.page.get_by_role("button", name="Submit").click()
        tab.page.get_by_role("heading", name=path.name).wait_for()
        for width, dashes in ((1280, 3), (390, 0)):
            tab.page.set_viewport_size({"width": width, "height": 800})
            tab.page.goto("/")
            row = tab.page.locator("tr", has_text=path.name)
            assert row.inner_text().count("–") == dashes


def test_the_policy_of_the_pages_stops_nothing_of_our_own(chromium: Any, served: tuple[JobStore, str]) -> None:
    with Watched(chromium, served[1]) as tab:
        for path in PATHS:
            tab.page.goto(path)
        assert tab.troubles == []


def test_a_job_is_seen_running_and_focus_and_open_figures_stay(chromium: Any, served: tuple[JobStore, str]) -> None:
    store, address = served
    with Watched(chromium, address) as tab:
        tab.page.goto(f"/jobs/{RUNNING}")
        tab.page.get_by_text("Show figures").click()
        tab.page.get_by_role("button", name="Pause").focus()
        shard = ShardRef(RUNNING, 12)
        lease = store.work.lease(shard, "vm:4001:x", 60.0)
        assert lease is not None
        before = store.jobs.get(RUNNING).done
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        store.work.finish_shard(lease, shard_stats("vm:4001:x"))
        tab.page.get_by_text(f"{before + 20} of 400 lines").wait_for()
        assert tab.page.evaluate("document.activeElement.textContent") == "Pause"
        assert tab.page.locator("#figures").evaluate("each => each.open")
        assert tab.troubles == []


def test_an_unchanged_part_is_not_sent_again_and_a_hidden_tab_asks_for_nothing(
    chromium: Any, served: tuple[JobStore, str]
) -> None:
    with Watched(chromium, served[1]) as tab:
        tab.page.goto(f"/jobs/{PAUSED}")
        with tab.page.expect_response(lambda answer: answer.status == 304):
            pass
        asked: list[str] = []
        tab.page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
        tab.page.on("request", lambda request: asked.append(request.url))
        tab.page.wait_for_timeout(2500)  # two and a half periods; only time can show that nothing comes
        assert asked == []


def test_a_server_that_is_away_leaves_the_page_and_says_so(chromium: Any, served: tuple[JobStore, str]) -> None:
    with Watched(chromium, served[1]) as tab:
        tab.page.goto(f"/jobs/{PAUSED}")
        assert tab.page.locator("#stale").is_hidden()
        tab.context.set_offline(True)
        tab.page.locator("#stale").wait_for()
        assert tab.page.get_by_role("button", name="Resume").is_visible()
        tab.context.set_offline(False)
        tab.page.locator("#stale").wait_for(state="hidden")


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[str]:
    """The address of a service that reads one shard of lines per request. It has a job of 40 shards."""
    site = Site(tmp_path, auth=False, search_seconds=-1.0)
    site.finish(site.own_job(lines=120))
    server = uvicorn.Server(uvicorn.Config(site.app, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_a_search_goes_on_by_itself_while_its_tab_is_visible(chromium: Any, hasty: str) -> None:
    with Watched(chromium, hasty) as tab:
        tab.page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isHidden ?? true})")
        tab.page.goto("/jobs/job-1/lines?q=What+is+117")
        tab.page.get_by_text("Looked at 3 of 120 lines.").wait_for()
        tab.page.get_by_role("link", name="Go on").wait_for()
        tab.page.evaluate("window.isHidden = false")
        tab.page.get_by_text("Looked at all lines.").wait_for()
        assert tab.page.locator("article.line").count() == 1
        assert tab.page.get_by_role("button", name="copy").is_visible()
        assert tab.troubles == []


def test_a_job_is_paused_by_keyboard_alone(chromium: Any, served: tuple[JobStore, str]) -> None:
    store, address = served
    with Watched(chromium, address) as tab:
        tab.page.goto(f"/jobs/{RUNNING}")
        for _ in range(30):
            tab.page.keyboard.press("Tab")
            if tab.page.evaluate("document.activeElement.textContent") == "Pause":
                break
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("button", name="Resume").wait_for()
        assert store.jobs.get(RUNNING).paused
        tab.page.get_by_role("button", name="Resume").press("Enter")
        tab.page.get_by_role("button", name="Pause").wait_for()
        assert tab.troubles == []


def test_a_dropped_file_is_submitted(chromium: Any, served: tuple[JobStore, str], tmp_path: Path) -> None:
    with Watched(chromium, served[1]) as tab:
        tab.page.goto("/submit")
        assert tab.page.get_by_text("You can also drop the file here.").is_visible()
        drop = tab.page.evaluate_handle(
            """() => { const data = new DataTransfer();
                data.items.add(new File(['{"id": "a", "prompt": "b"}\\n'], "dropped.jsonl")); return data; }"""
        )
        tab.page.dispatch_event("#drop", "drop", {"dataTransfer": drop})
        tab.page.get_by_role("button", name="Submit").click()
        tab.page.get_by_role("heading", name="dropped.jsonl").wait_for()
        assert tab.troubles == []


def test_a_refused_file_is_named_without_leaving_the_form(chromium: Any, served: tuple[JobStore, str]) -> None:
    with Watched(chromium, served[1]) as tab:
        tab.page.goto("/submit")
        tab.page.set_input_files("#file", {"name": "x.jsonl", "mimeType": "text/plain", "buffer": b"hello\n"})
        tab.page.get_by_role("button", name="Submit").click()
        tab.page.get_by_role("alert").get_by_text("no JSON object").wait_for()
