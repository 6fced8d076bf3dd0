"""The documentation is written in sentences of at most 40 words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_WORDS = 40
# Generated from the help texts.
UNCHECKED = {"cli.md"}
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name not in UNCHECKED),
]
FENCE = re.compile(r"\s*```")
LIST_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
CODE_SPAN = re.compile(r"`[^`]*`")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?![a-z])")  # "e.g. this" is one sentence


def _paragraphs(text: str) -> Iterator[str]:
    """Yield each paragraph and each list item as one line, without code blocks, tables and headings."""
    lines: list[str] = []
    in_fence = False
    for line in text.splitlines():
        if FENCE.match(line):
            in_fence = not in_fence
        is_code = in_fence or FENCE.match(line) or (line.startswith("    ") and not lines)
        ends = is_code or not line.strip() or line.startswith(("|", "#"))
        if (ends or LIST_ITEM.match(line)) and lines:
            yield " ".join(lines)
            lines = []
        if not ends:
            lines.append(LIST_ITEM.sub("", line, count=1).strip())
    if lines:
        yield " ".join(lines)


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page. A sentence ends with a full stop, a question mark or an exclamation mark."""
    for paragraph in _paragraphs(text):
        # A full stop in code ends no sentence; the address of a link is not read.
        plain = CODE_SPAN.sub(lambda code: re.sub(r"[.!?]", "_", code.group()), paragraph)
        yield from SENTENCE_END.split(LINK.sub(r"\1", plain).replace("*", ""))


def _num_words(sentence: str) -> int:
    return sum(any(char.isalnum() for char in word) for word in sentence.split())


def _long_sentences(text: str) -> list[str]:
    return [sentence for sentence in _sentences(text) if _num_words(sentence) > MAX_WORDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_of_the_documentation_has_more_than_40_words(page: Path) -> None:
    assert _long_sentences(page.read_text(encoding="utf-8")) == []


LONG = "Word" + " word" * MAX_WORDS


def test_a_long_sentence_is_found_in_a_paragraph_and_in_a_list_item() -> None:
    assert _long_sentences(f"Short one. {LONG}\n") == [LONG]
    assert _long_sentences(f"- Short.\n- {LONG}: `a.b`.\n- Short again.\n") == [f"{LONG}: `a_b`."]
    assert _long_sentences(f"**Bold.** {LONG}.\n{LONG}\n") == [f"{LONG}.", LONG]
    assert _long_sentences("With words, e.g. " + "word " * MAX_WORDS) != []


def test_code_tables_headings_and_addresses_of_links_are_no_sentences() -> None:
    assert _long_sentences(f"# {LONG}\n\n    {LONG}\n\n| {LONG} |\n\n```\n{LONG}\n```\n[here](https://a/{LONG})") == []


def test_each_list_item_and_each_paragraph_begins_a_sentence() -> None:
    half = "word " * 30
    assert _long_sentences(f"{half}\n\n{half}\n\n- {half}\n- {half}\n1. {half}\n") == []
