"""Docstrings are plain: they open with a short sentence, and no sentence leaves its subject to the reader."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("benchmarks", "cli", "engine", "jobs", "model", "qwen_batch", "server", "tools", "worker")
MAX_WORDS = 25  # in the first sentence of a docstring
BANNED_SHAPE = re.compile(r"(?:Of|The same|What it|Whether it|For that)\b")
# A line of a section such as `Args:` begins with a name; the text after the name is an entry of its own.
ENTRY = re.compile(r"^ *(?:\*{0,2}\w+|`[^`]+`): (?P<text>.+)$", re.MULTILINE)


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "lineno", 1), text


def first_sentence(text: str) -> str:
    """Return the text up to the first full stop that ends a sentence, or up to the first empty line."""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.!?]) (?=[^a-z])", paragraph, maxsplit=1)[0]


def has_banned_shape(text: str) -> bool:
    """Return True if the docstring, a paragraph of it or an entry of a section begins with a banned shape."""
    beginnings = [text, *text.split("\n\n"), *(match["text"] for match in ENTRY.finditer(text))]
    return any(BANNED_SHAPE.match(beginning.lstrip()) for beginning in beginnings)


def docstrings_of(package: str) -> Iterator[tuple[str, str]]:
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        for line, text in docstrings(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(REPOSITORY)}:{line}", text


@pytest.mark.parametrize("package", PACKAGES)
def test_the_first_sentence_of_every_docstring_is_short(package: str) -> None:
    first = ((place, first_sentence(text)) for place, text in docstrings_of(package))
    assert [f"{place}: {sentence}" for place, sentence in first if len(sentence.split()) > MAX_WORDS] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_leaves_its_subject_to_the_reader(package: str) -> None:
    assert [place for place, text in docstrings_of(package) if has_banned_shape(text)] == []


def test_every_checked_package_has_docstrings() -> None:
    assert [package for package in PACKAGES if len(list(docstrings_of(package))) < 30] == []


def test_the_rules_find_what_they_are_for() -> None:
    source = (
        'def f():\n    """The same for several."""\nclass C:\n    """Count.\n\n    Args:\n        n: Of lines.\n    """'
    )
    assert [(line, has_banned_shape(text)) for line, text in docstrings(source)] == [(1, True), (3, True)]
    assert not has_banned_shape("Offer lines.\n\nThe sameness of both is checked.\n\nArgs:\n    n: Number of lines.")
    assert first_sentence("Return `e.g.` lines\nof one file. Then stop.\n\nMore.") == "Return `e.g.` lines of one file."
