"""Names and texts use the glossary's words. A word that was replaced does not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUFFIXES = {".cpp", ".h", ".lua", ".md", ".py", ".toml"}
# These tell what was: the changelog, trials of older versions, and this list.
HISTORY = ("CHANGELOG.md", "docs/lab/", "tests/house/test_retired_words.py")
RETIRED = {  # the old word, as a pattern, and the word to use
    "absolve": "crash_count of a shard that finished",
    "back_up|second.runner|spare_?time": "backup, try_backup, BackupRunner",
    "(?:error|host|key|limit|origin)_?border|server[./]borders": "ErrorMiddleware, server/middleware",
    "block_?manager": "PageAllocator",
    "block_table": "page_table",
    "bring_last": "gather_last_rows",
    "cli/local|cli\\.local": "cli/offline for commands without a queue, cli/run for `run`",
    "deadly|guilty|poison|suspect": "quarantined, isolated",
    "engine_?load": "utilization",
    "fair_?turns": "FairQueue",
    "reaper|stranded": "recovery, recoverable_shards",
    "soften": "online_softmax",
    "stirred|wait_for_news": "notification, wait_for_notification",
}
PER = re.compile(r"\b(?:BYTES|LINES|MESSAGES|PAGES|READS?|SHARDS|TOKENS|WEIGHTS)_A_[A-Z]+\b|\bbytes_a_[a-z]+")


def texts() -> dict[str, str]:
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    return {
        name: (REPOSITORY / name).read_text(encoding="utf-8")
        for name in names
        if Path(name).suffix in SUFFIXES and not name.startswith(HISTORY) and (REPOSITORY / name).is_file()
    }


@pytest.mark.parametrize(("old", "new"), RETIRED.items(), ids=list(RETIRED))
def test_a_retired_word_stands_in_no_name_and_no_text(old: str, new: str) -> None:
    word = re.compile(old, re.IGNORECASE)
    found = [name for name, text in texts().items() if word.search(text) or word.search(name)]
    assert found == [], f"say {new}"


def test_names_of_rates_say_per() -> None:
    assert {name: found for name, text in texts().items() if (found := PER.findall(text))} == {}


def test_there_are_texts_in_every_language() -> None:
    assert {Path(name).suffix for name in texts()} == SUFFIXES
