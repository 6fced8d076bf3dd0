"""Every file and every function that the tour of the code names must exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOUR = REPOSITORY / "docs" / "tour.md"
PACKAGES = ("cli", "engine", "jobs", "model", "qwen_batch", "server", "worker")
STOP = re.compile(r"^\| `([^`]+)` \| (?:`([^`]+)`|the script) \| (.+) \|$")
NAME = re.compile(r"`(\w+(?:\.\w+)?)`")
STOPS = [match.groups() for line in TOUR.read_text(encoding="utf-8").splitlines() if (match := STOP.match(line))]


def _python_names(path: Path) -> Iterator[str]:
    """Yield `function`, `Class` and `Class.method` for each definition in a file, at any depth."""

    def names_below(node: ast.AST, owner: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield child.name
                yield from names_below(child, f"{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{owner}{child.name}"
                yield from names_below(child, "")

    return names_below(ast.parse(path.read_text(encoding="utf-8")), "")


def _names(path: Path) -> set[str]:
    if path.suffix == ".py":
        return set(_python_names(path))
    return set(re.findall(r"^[A-Za-z].*?\b(\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_row_of_the_tour_is_a_stop() -> None:
    rows = [line for line in TOUR.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(STOPS) == len(rows) > 30


@pytest.mark.parametrize(("file", "function"), [stop[:2] for stop in STOPS])
def test_each_stop_of_the_tour_exists(file: str, function: str | None) -> None:
    path = REPOSITORY / file
    assert path.is_file()
    assert function is None or function in _names(path)


def test_each_name_that_the_tour_mentions_beside_its_stops_exists() -> None:
    mentioned = {name for *_, text in STOPS for name in NAME.findall(text)}
    known = {name for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") for name in _names(path)}
    assert mentioned
    assert mentioned - known == set()
