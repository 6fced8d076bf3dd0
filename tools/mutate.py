"""Measures the share of small faults that the tests notice: python -m tools.mutate

Each mutant of `tools/mutants/` is a small fault. The program applies it to a copy of the working tree, and runs the
mutant's tests there. A mutant that no test notices survives. Exits with 1 if fewer than 95% are killed, or if a mutant
no longer fits the code.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from threading import Lock

from tools.mutation.mutants import Mutant, Selection, read_mutants
from tools.mutation.trial import Trial, Verdict, run_base, try_mutant
from tools.mutation.workspace import Workspace

MIN_RATE = 0.95
LINES_SHOWN = 25  # max lines of pytest's output, if the unchanged tree fails


def main() -> int:
    """Run the mutants that the command line selects, and print a report."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="mutants whose file, tests or words hold it"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time (2)")
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in read_mutants() if _is_meant(mutant, arguments.only)]
    if arguments.sample is not None:
        mutants = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))
    if arguments.list:
        print(*mutants, f"{len(mutants)} mutants", sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="mut-") as folder, ExitStack() as opened:
        workspaces = _workspaces(Path(folder), arguments.jobs)
        for workspace in workspaces:
            opened.callback(workspace.close)
        trials = _Run(mutants, workspaces).trials()
    return _report(trials)


def _is_meant(mutant: Mutant, texts: list[str]) -> bool:
    return not texts or any(text in f"{mutant} {mutant.tests}" for text in texts)


def _workspaces(folder: Path, number: int) -> list[Workspace]:
    """Yield copies of the tree.

    The kernels are built in each copy, because a library depends on its sources' folder.
    """
    workspaces = [Workspace(folder / str(index)) for index in range(number)]
    for workspace in workspaces:
        workspace.make()
        workspace.build_kernels()
    return workspaces


class _Run:
    """Tries mutants, one per workspace at a time. Mutants with the same tests run one after the other."""

    def __init__(self, mutants: list[Mutant], workspaces: list[Workspace]) -> None:
        self._total = len(mutants)
        self._trials: list[Trial] = []
        self._said = Lock()
        self._free: Queue[Workspace] = Queue()
        for workspace in workspaces:
            self._free.put(workspace)
        self._groups: dict[Selection, list[Mutant]] = {}
        for mutant in mutants:
            self._groups.setdefault(mutant.tests, []).append(mutant)

    def trials(self) -> list[Trial]:
        """Try all mutants, and print a line for each."""
        with ThreadPoolExecutor(self._free.qsize()) as pool:
            tries = [pool.submit(self._try, tests) for tests in self._groups]
            try:
                for each in as_completed(tries):
                    each.result()
            except BaseException:  # also Ctrl-C: trials that have not begun are dropped
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return self._trials

    def _try(self, tests: Selection) -> None:
        """Run a group of tests without a mutant, then with each of the group's mutants."""
        workspace = self._free.get()
        try:
            base = run_base(workspace, tests)
            self._say(f"{'base':17} {base.seconds:5.1f} s  {tests}")
            if base.status not in (0, 5):
                self._say("\n".join(["THEY FAIL WITHOUT A MUTANT", *base.output.splitlines()[-LINES_SHOWN:]]))
            for mutant in self._groups[tests]:
                trial = try_mutant(workspace, mutant, base)
                with self._said:
                    self._trials.append(trial)
                self._say(str(trial))
        finally:
            self._free.put(workspace)

    def _say(self, line: str) -> None:
        with self._said:
            print(f"{len(self._trials):4}/{self._total}  {line}", flush=True)


def _report(trials: list[Trial]) -> int:
    """Print the table, the survivors and the mutants that do not fit. Returns the exit status."""
    counts: dict[str, Counter[Verdict]] = {}
    for trial in trials:
        counts.setdefault(_package(trial.mutant), Counter())[trial.verdict] += 1
    total = sum(counts.values(), Counter())
    shown = [verdict for verdict in Verdict if total[verdict]]
    print("\n" + f"{'':18}" + "".join(f"{verdict:>18}" for verdict in shown))
    for name, row in [*sorted(counts.items()), ("all", total)]:
        print(f"{name:18}" + "".join(f"{row[verdict]:18}" for verdict in shown))
    for trial in sorted(trials, key=lambda trial: (trial.verdict, str(trial.mutant))):
        if trial.verdict not in (Verdict.KILLED, Verdict.RED_BASE):
            print(f"{trial.verdict}: {trial.mutant} [{trial.mutant.tests}]")
    tried = total[Verdict.KILLED] + total[Verdict.SURVIVED]
    rate = total[Verdict.KILLED] / tried if tried else 1.0
    print(f"{total[Verdict.KILLED]} of {tried} killed: {rate:.1%}")
    broken = total[Verdict.STALE] + total[Verdict.NOT_BUILT] + total[Verdict.RED_BASE]
    return int(rate < MIN_RATE or broken > 0)


def _package(mutant: Mutant) -> str:
    path = Path(mutant.file)
    if path.suffix == ".lua":
        return f"{path.parts[0]}, Lua"
    return f"{path.parts[0]}, C++" if path.suffix in (".cpp", ".h") else path.parts[0]


if __name__ == "__main__":
    sys.exit(main())
