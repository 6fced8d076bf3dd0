"""Scripts, styles and pictures of the pages."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.server.pages.browsing import Browser

STATIC = Path(__file__).resolve().parents[3] / "server" / "static"
VENDOR = STATIC / "vendor"


def test_every_foreign_file_is_listed_with_its_hash_and_licence() -> None:
    listed = dict(re.findall(r"^(\S+)$.*?sha256: (\w+)$", (VENDOR / "VERSIONS.txt").read_text(), re.MULTILINE | re.S))
    scripts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.js")}
    assert listed == scripts
    assert "Zero-Clause BSD" in (VENDOR / "htmx-LICENSE.txt").read_text()


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 120_000


def test_a_file_is_kept_by_browsers_until_it_changes(browser: Browser) -> None:
    page = browser.open("/")
    (style,) = (said["href"] for tag, said in page.tags if tag == "link" and said["rel"] == "stylesheet")
    kept = browser.http.get(style)
    assert (kept.headers["content-type"], kept.content) == (
        "text/css; charset=utf-8",
        (STATIC / "style.css").read_bytes(),
    )
    assert "immutable" in kept.headers["cache-control"]
    assert browser.http.get("/static/style.css?v=old").headers["cache-control"] == "no-cache"


def test_nothing_outside_the_folder_is_sent(browser: Browser) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/vendor", "/static//etc/passwd"):
        assert browser.http.get(path).status_code == 404
