"""What `make mutants` makes of one mutant, and that it leaves no trace of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.mutation.mutants import Mutant, Selection
from tools.mutation.trial import Verdict, try_mutant
from tools.mutation.workspace import Outcome, Workspace

MUTANT = Mutant("a.py", "x < 1", "x <= 1", "One too many passes.", Selection(("tests/test_a.py",)))
GREEN = Outcome(0, "1 passed", 1.0)


class FakeWorkspace(Workspace):
    """A tree of one file, and tests that end in a given way; it notes what they saw."""

    def __init__(self, folder: Path, outcome: Outcome) -> None:
        super().__init__(folder)
        self.tree.mkdir()
        (self.tree / "a.py").write_text("if x < 1: y()\n")
        self.seen: list[str] = []
        self._outcome = outcome

    def build_kernels(self) -> bool:
        return False

    def run(self, tests: Selection, timeout: float) -> Outcome:
        self.seen.append((self.tree / "a.py").read_text())
        return self._outcome

    @property
    def text(self) -> str:
        return (self.tree / "a.py").read_text()


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (GREEN, Verdict.SURVIVED),
        (Outcome(1, "1 failed", 1.0), Verdict.KILLED),
        (Outcome(2, "error while collecting", 1.0), Verdict.KILLED),
        (Outcome(None, "", 99.0), Verdict.KILLED),
    ],
)
def test_the_tests_see_the_mutant_and_decide_and_the_file_is_put_back(
    tmp_path: Path, outcome: Outcome, verdict: Verdict
) -> None:
    workspace = FakeWorkspace(tmp_path, outcome)
    assert try_mutant(workspace, MUTANT, GREEN).verdict is verdict
    assert workspace.seen == ["if x <= 1: y()\n"]
    assert workspace.text == "if x < 1: y()\n"


@pytest.mark.parametrize("old", ["x < 2", " "])
def test_a_mutant_whose_text_does_not_stand_exactly_once_is_stale(tmp_path: Path, old: str) -> None:
    workspace = FakeWorkspace(tmp_path, GREEN)
    assert try_mutant(workspace, replace(MUTANT, old=old), GREEN).verdict is Verdict.STALE
    assert workspace.seen == []


def test_nothing_is_tried_where_the_tests_fail_anyway_or_none_runs(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, GREEN)
    assert try_mutant(workspace, MUTANT, Outcome(1, "1 failed", 1.0)).verdict is Verdict.RED_BASE
    assert try_mutant(workspace, MUTANT, Outcome(0, "3 skipped in 0.1s", 1.0)).verdict is Verdict.UNTESTABLE
    assert try_mutant(workspace, MUTANT, Outcome(5, "no tests ran", 1.0)).verdict is Verdict.UNTESTABLE
    missing = replace(MUTANT, needs=("no_such_flag",))
    assert try_mutant(workspace, missing, GREEN).verdict is Verdict.UNTESTABLE
    assert workspace.seen == []


def test_a_kernel_that_the_compiler_refuses_is_no_survivor(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, GREEN)
    (workspace.tree / "a.cpp").write_text("x < 1")
    assert try_mutant(workspace, replace(MUTANT, file="a.cpp"), GREEN).verdict is Verdict.NOT_BUILT
    assert workspace.seen == []
