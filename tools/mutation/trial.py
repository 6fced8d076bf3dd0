"""Runs the tests of one mutant, and finds out whether they notice it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tools.mutation.mutants import Mutant, Selection
from tools.mutation.workspace import Outcome, Workspace

BASE_TIMEOUT_SECONDS = 600.0
SOURCES = (".cpp", ".h")


class Verdict(StrEnum):
    """The result of a trial. Only killed and survived mutants count for the rate."""

    KILLED = "killed"
    SURVIVED = "survived"
    STALE = "stale"  # the old text does not stand exactly once in the mutant's file
    NOT_BUILT = "not built"  # the C++ compiler refuses it
    UNTESTABLE = "not testable here"  # every test is skipped on this machine, or its lines are not compiled
    RED_BASE = "base is red"  # the tests fail without the mutant, too


@dataclass(frozen=True)
class Trial:
    """One mutant's verdict."""

    mutant: Mutant
    verdict: Verdict
    seconds: float = 0.0
    output: str = ""  # pytest's

    def __str__(self) -> str:
        return f"{self.verdict:<17} {self.seconds:5.1f} s  {self.mutant}"


def try_mutant(workspace: Workspace, mutant: Mutant, base: Outcome) -> Trial:
    """Apply a mutant in a workspace, run its tests, and undo the change.

    Args:
        workspace: A copy of the unchanged tree.
        mutant: The change to apply.
        base: The tests' outcome without the mutant.
    """
    early = _verdict_before(mutant, base)
    if early is not None:
        return Trial(mutant, early, output=base.output)
    path = workspace.tree / mutant.file
    text = path.read_text(encoding="utf-8")
    changed = mutant.changed(text)
    if changed is None:
        return Trial(mutant, Verdict.STALE)
    kernels = workspace.kernels()
    path.write_text(changed, encoding="utf-8")
    try:
        # Before the tests: on a busy machine the compiler takes longer than a test may.
        if path.suffix in SOURCES and not workspace.build_kernels():
            return Trial(mutant, Verdict.NOT_BUILT)
        outcome = workspace.run(mutant.tests, 60 + 4 * base.seconds)
    finally:
        path.write_text(text, encoding="utf-8")
        for library in workspace.kernels() - kernels:
            library.unlink()
    verdict = Verdict.SURVIVED if outcome.status == 0 else Verdict.KILLED
    return Trial(mutant, verdict, outcome.seconds, outcome.output)


def run_base(workspace: Workspace, tests: Selection) -> Outcome:
    """Run tests on the unchanged tree. If they fail, run them once more, because the machine may be busy."""
    first = workspace.run(tests, BASE_TIMEOUT_SECONDS)
    return first if first.status in (0, 5) else workspace.run(tests, BASE_TIMEOUT_SECONDS)


def _verdict_before(mutant: Mutant, base: Outcome) -> Verdict | None:
    if base.all_skipped or not set(mutant.needs) <= _processor_flags():
        return Verdict.UNTESTABLE
    return Verdict.RED_BASE if base.status != 0 else None


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return set(found[1].split()) if found else set()
