"""The list of mutants: small changes to the code. At least one test must notice each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = REPOSITORY / "tools" / "mutants"


@dataclass(frozen=True)
class Selection:
    """The tests that must notice a mutant."""

    files: tuple[str, ...]  # from the root of the repository
    keyword: str = ""  # pytest's `-k`; empty for all tests of the files

    def __str__(self) -> str:
        return " ".join(self.files) + (f" -k {self.keyword!r}" if self.keyword else "")


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str  # from the root of the repository
    old: str  # stands exactly once in the file
    new: str
    breaks: str  # what goes wrong with the change, in one sentence
    tests: Selection
    needs: tuple[str, ...] = ()  # flags of /proc/cpuinfo without which the changed lines are not compiled

    def __str__(self) -> str:
        return f"{self.file}: {self.breaks}"

    def changed(self, text: str) -> str | None:
        """Return the file's text with the change, or None unless the old text occurs exactly once in the file."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None


def read_mutants(folder: Path = LISTS) -> list[Mutant]:
    """Return every mutant of the lists in `folder`, in the order of the files' names."""
    return [mutant for path in sorted(folder.glob("*.toml")) for mutant in read_list(path)]


def read_list(path: Path) -> list[Mutant]:
    """Return the mutants of one list.

    Raises `KeyError` or `TypeError` for an entry with a missing or an unknown key.
    """
    groups = tomllib.loads(path.read_text(encoding="utf-8"))["groups"]
    return [_mutant(entry, _tests(group)) for group in groups for entry in group["mutants"]]


def _tests(group: dict[str, object]) -> Selection:
    files, keyword = group["tests"], group.get("keyword", "")
    assert isinstance(files, list) and isinstance(keyword, str)
    return Selection(tuple(files), keyword)


def _mutant(entry: dict[str, object], tests: Selection) -> Mutant:
    needs = entry.pop("needs", [])
    assert isinstance(needs, list)
    return Mutant(tests=tests, needs=tuple(needs), **entry)  # type: ignore[arg-type]
