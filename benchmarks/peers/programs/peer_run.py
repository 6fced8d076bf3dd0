"""Code that all peers share: command line, timing, checks, and one JSON line per measurement.

Standard library only: this file runs in the peers' own environments.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peers.tasks.records import outcome
from benchmarks.peers.tasks.task import Kind, Task, read_tasks

Generate = Callable[[Task], list[list[int]]]
Prepare = Callable[[Task], None]
Decode = Callable[[list[int]], str]

SHARED_WARM_UP_REQUESTS = 4  # few, because prompts that begin alike are long


def peer_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every peer gets."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a Qwen3 model")
    parser.add_argument("--tasks", type=Path, required=True, help="what to do, as `task.write_tasks` writes it")
    parser.add_argument("--results", type=Path, required=True, help="gets a JSON line a measurement")
    parser.add_argument("--converted", type=Path, required=True, help="folder for the model in a peer's own format")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument(
        "--warm-up-requests", type=int, help="of the first task of each kind, untimed (default: all of them)"
    )
    return parser


@dataclass
class PeerRun:
    """The tasks of one process of a peer, and the destination of its measurements."""

    tasks: list[Task]
    warm_up_requests: int | None
    vocab_size: int
    results: TextIO

    @classmethod
    def of_options(cls, options: argparse.Namespace) -> PeerRun:
        """Return the run that the command line asks for."""
        config = json.loads((options.model / "config.json").read_text(encoding="utf-8"))
        results = options.results.open("w", encoding="utf-8")
        return cls(read_tasks(options.tasks), options.warm_up_requests, config["vocab_size"], results)

    def measure(
        self, generate: Generate, version: str, prepare: Prepare = lambda _: None, decode: Decode | None = None
    ) -> None:
        """Run and time every task. The first task of each kind also runs once untimed, as a warm-up.

        If prompts begin alike, the warm-up is a few requests with other tokens, so that a prefix cache knows nothing of
        the task. The task's primer then runs untimed, too.

        Args:
            generate: Decodes a task greedily, past any end of text, and returns the new ids of each prompt.
            version: Name and version of the measured system.
            prepare: Called untimed with each task before it runs.
            decode: Turns ids into text, without special tokens. Only a system that makes records needs it.
        """
        warm: set[Kind] = set()
        for task in self.tasks:
            prepare(task)
            if task.kind not in warm:
                generate(self._warm_up(task))
                warm.add(task.kind)
            if task.primer:
                generate(Task(task.kind, task.seed, [task.primer], [1]))
            started_at = time.perf_counter()
            ids = generate(task)
            seconds = time.perf_counter() - started_at
            if task.is_records and decode is not None:
                self.record(task, seconds, version, **outcome(list(map(decode, ids)), list(map(len, ids))))
            else:
                check_ids(task, ids, self.vocab_size)
                self.record(task, seconds, version)

    @property
    def shares(self) -> bool:
        """True if all prompts of a task begin alike, so that the prefix cache has to be on. No run has both kinds."""
        return all(task.shares for task in self.tasks)

    def _warm_up(self, task: Task) -> Task:
        limit = SHARED_WARM_UP_REQUESTS if task.shares else self.warm_up_requests
        prompts = task.prompts[:limit]
        if task.shares:
            prompts = [[(token + 1) % self.vocab_size for token in prompt] for prompt in prompts]
        return replace(task, prompts=prompts, lengths=task.lengths[:limit], primer=[])

    def record(self, task: Task, seconds: float, version: str, **more: Any) -> None:  # noqa: ANN401  # JSON
        """Write a measurement as one line. `more` has further figures, or replaces those of the task."""
        line = {
            "kind": task.kind,
            "requests": task.requests,
            "seed": task.seed,
            "input_tokens": task.input_tokens,
            "output_tokens": task.output_tokens,
            "longest_output": max(task.lengths),
            "seconds": seconds,
            "version": version,
            **more,
        }
        print(json.dumps(line), file=self.results, flush=True)
        print(f"{task.kind}, {task.requests} requests, seed {task.seed}: {seconds:.2f} s", file=sys.stderr, flush=True)


def check_ids(task: Task, ids: list[list[int]], vocab_size: int) -> None:
    """Raise `SystemExit` unless the system returned exactly the requested number of ids."""
    counts = [len(new) for new in ids]
    if counts != task.lengths:
        raise SystemExit(f"{task.kind}: {task.lengths} tokens were asked for, {counts} came.")
    if not all(0 <= token < vocab_size for new in ids for token in new):
        raise SystemExit(f"{task.kind}: an id is outside the vocabulary of {vocab_size}.")
