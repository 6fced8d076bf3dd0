"""A task for all systems: requests that arrive together, each with a prompt and a number of new tokens.

Standard library only: this file also runs in the peers' own environments.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["one_stream", "prefill", "batch", "streams", "shared", "shared_long", "records"]
SHARED: tuple[Kind, ...] = ("shared", "shared_long")  # prompts that begin alike; prefix caches are on only for these


@dataclass(frozen=True)
class Task:
    """Prompts to answer greedily, past any end of text, with exactly `lengths` new tokens.

    A completion of `records` follows a schema instead (`records.SCHEMA`), and ends by itself within `lengths` tokens.
    """

    kind: Kind
    seed: int
    prompts: list[list[int]]  # token ids
    lengths: list[int]  # new tokens of each prompt
    primer: list[int] = field(default_factory=list)  # prompt to answer before, untimed, which fills a prefix cache

    @property
    def shares(self) -> bool:
        """True if the prompts begin alike, so that a prefix cache helps."""
        return self.kind in SHARED

    @property
    def is_records(self) -> bool:
        """True if the completions are records of a schema."""
        return self.kind == "records"

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.prompts)

    @property
    def input_tokens(self) -> int:
        """Number of tokens of all prompts."""
        return sum(map(len, self.prompts))

    @property
    def output_tokens(self) -> int:
        """Number of tokens of all completions."""
        return sum(self.lengths)

    @property
    def positions(self) -> list[int]:
        """Cache positions that each request needs."""
        return [len(prompt) + length for prompt, length in zip(self.prompts, self.lengths, strict=True)]


def write_tasks(path: Path, tasks: list[Task]) -> None:
    """Write one JSON line per task."""
    path.write_text("".join(json.dumps(asdict(task)) + "\n" for task in tasks), encoding="utf-8")


def read_tasks(path: Path) -> list[Task]:
    """Read the tasks that `write_tasks` wrote."""
    return [Task(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
