"""Runs the systems one after the other, round after round. Each run is a process of its own."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.peers.environments import environment_for, python_of
from benchmarks.peers.lesser_processors import LesserProcessor
from benchmarks.peers.series.others import OthersWatch
from benchmarks.peers.series.results import Measurement
from benchmarks.peers.series.version import REPOSITORY
from benchmarks.peers.systems import System
from benchmarks.peers.tasks.plan import Plan
from benchmarks.peers.tasks.task import Task, write_tasks
from jobs import tether

FIELDS = set(Measurement.__struct_fields__)


class PeerFailed(Exception):
    """A system could not be installed or did not finish. The text says where the system's output is."""


@dataclass(frozen=True)
class Rounds:
    """The settings that all rounds of a series share."""

    plan: Plan
    model: Path
    vocab_size: int
    threads: int
    environments: Path  # folder of the peers' environments and of converted models
    logs: Path
    lesser: LesserProcessor | None = None  # processor that the environment variables simulate, if any

    def run(self, systems: list[System], failures: dict[str, str], done: dict[str, int]) -> Iterator[Measurement]:
        """Run the rounds and yield each measurement.

        Every second round runs in reverse order, so that a drift affects all alike.

        Args:
            systems: The systems to run. A system that fails is left out of later rounds.
            failures: Receives the reason for each system that failed.
            done: Number of earlier rounds per system. New rounds continue this number. Curves are measured again.
        """
        for number in range(self.plan.repeat):
            for system in systems if number % 2 == 0 else reversed(systems):
                if system.key in failures:
                    continue
                try:
                    for tasks in _by_prefix_cache(self.plan.tasks(system, number, self.vocab_size)):
                        yield from self._measure(system, tasks, done.get(system.key, 0) + number)
                except PeerFailed as error:
                    failures[system.key] = str(error)
                    print(f"{system.name}: {error}", file=sys.stderr, flush=True)

    def _measure(self, system: System, tasks: list[Task], number: int) -> list[Measurement]:
        python = self._python(system)
        print(f"Round {number + 1}, {system.name}: {len(tasks)} tasks …", file=sys.stderr, flush=True)
        tasks_file, results = self.logs / f"{system.key}.tasks.jsonl", self.logs / f"{system.key}.results.jsonl"
        part = "-shared" if tasks[0].shares else ""
        log = self.logs / f"{system.key}{part}.round-{number + 1}.log"
        write_tasks(tasks_file, tasks)
        results.unlink(missing_ok=True)
        command = [str(python), "-m", system.module, str(self.model), "--tasks", str(tasks_file)]
        command += ["--results", str(results), "--converted", str(self._converted())]
        command += ["--threads", str(self.threads), *system.arguments]
        if system.warm_up_requests is not None:
            command += ["--warm-up-requests", str(system.warm_up_requests)]
        started_at, others = time.monotonic(), OthersWatch()
        with log.open("wb") as output:
            tethered = tether.command(command, signal.SIGTERM)  # a killed series leaves nothing that disturbs the next
            done = subprocess.run(
                tethered, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, env=_environment(), check=False
            )
        others_share = others.share()
        lines = results.read_bytes().splitlines() if results.exists() else []
        if done.returncode != 0 or len(lines) != len(tasks):
            raise PeerFailed(f"exit status {done.returncode}, {len(lines)} of {len(tasks)} tasks done; see {log}")
        print(
            f"  {time.monotonic() - started_at:.0f} s, loading included; others used {others_share:.0%} of the machine",
            file=sys.stderr,
        )
        return [_measurement(line, system, number, others_share) for line in lines]

    def _python(self, system: System) -> Path:
        if system.environment is None:
            return Path(sys.executable)
        try:
            return python_of(environment_for(system.environment, self.lesser), self.environments)
        except subprocess.CalledProcessError as error:
            raise PeerFailed(f"its installation failed with exit status {error.returncode}") from error

    def _converted(self) -> Path:
        """Return the folder for this model in the formats of peers."""
        digest = hashlib.sha256(str(self.model.resolve()).encode()).hexdigest()[:8]
        folder = self.environments / "converted" / f"{self.model.name}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _by_prefix_cache(tasks: list[Task]) -> list[list[Task]]:
    """Part the tasks into those without and those with a prefix cache. Most systems switch it for a whole process."""
    parts = [[task for task in tasks if task.shares == shares] for shares in (False, True)]
    return [part for part in parts if part]


def _environment() -> dict[str, str]:
    """Return this process's environment without variables that set a number of threads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "MKL_NUM"))}


def _measurement(line: bytes, system: System, number: int, others_share: float) -> Measurement:
    found = msgspec.json.decode(line)
    more = {name: found.pop(name) for name in list(found) if name not in FIELDS}
    ours = {"system": system.key, "round": number, "others_share": others_share, "more": more}
    return msgspec.convert({**found, **ours}, Measurement)
