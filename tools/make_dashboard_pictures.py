"""Make the dashboard's pictures for the README: `.venv/bin/python -m tools.make_dashboard_pictures`.

A worker answers sums with the demo model, and Debian's Chromium takes the pictures when it is half done.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
NUM_LINES = 12_000
SIZE = {"width": 1280, "height": 720}
MAX_BYTES = 150_000
_TIMEOUT_MS = 120_000


def main() -> None:
    """Write one picture per colour scheme."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = folder / "sums.jsonl"
        prompts.write_text("".join(f"{json.dumps(_sum(number))}\n" for number in range(NUM_LINES)))
        log = folder / "serve.log"
        service = _serve(folder, log)
        try:
            _take(_address(log), prompts)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()


def _sum(number: int) -> dict[str, object]:
    body = {"model": "demo", "messages": [{"role": "user", "content": f"What is {number % 97} + {number % 89}?"}]}
    return {"custom_id": f"sum-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def _serve(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    words = ["-m", "cli.main", "serve", "--with-worker", "--port", "0"]
    environment = os.environ | {"QWEN_BATCH_STATE_DIR": str(folder / "state")}
    with log.open("wb") as stream:
        return subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, env=environment, stderr=stream, stdout=stream)


def _address(log: Path) -> str:
    while "Serving " not in log.read_text():
        time.sleep(0.1)
    return log.read_text().partition("Serving ")[2].partition("/v1")[0]


def _take(address: str, prompts: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(_TIMEOUT_MS)
        page.goto(f"{address}/submit")
        page.set_input_files("#file", prompts)
        page.get_by_role("button", name="Submit").click()
        page.get_by_role("heading", name=prompts.name).wait_for()
        page.get_by_text(re.compile(r"^[456]\d%$")).wait_for()  # a page that renews itself may skip 50%
        for scheme in ("light", "dark"):
            _save(page, scheme)
        browser.close()


def _save(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    path = PICTURES / f"dashboard-{scheme}.png"
    page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size:,} bytes")
    assert path.stat().st_size < MAX_BYTES


if __name__ == "__main__":
    main()
