"""The measurements of a series, in the file from which tables and plots are made."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.peers.tasks.task import Kind
from cli.offline.roofline import MachineSpeed, ModelCost


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one task by one system."""

    system: str  # a key of `SYSTEMS`
    round: int
    version: str
    kind: Kind
    requests: int
    seed: int
    input_tokens: int
    output_tokens: int
    longest_output: int  # tokens of the longest completion
    seconds: float
    others_share: float  # share of all processors that other programs used while the system ran
    more: dict[str, float | None] = {}  # statistics of our own runs

    @property
    def rate(self) -> float:
        """Tokens per second: prompt tokens for a prefill, else the requested new tokens."""
        return (self.input_tokens if self.kind == "prefill" else self.output_tokens) / self.seconds


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The machine of a series."""

    processor: str
    cores: int  # physical cores that this process may use
    instructions: tuple[str, ...]  # the instruction sets that matter for matrix products
    memory_bytes: int
    system: str
    python: str
    speed: MachineSpeed
    held_to: str | None = None  # a key of `LESSER_PROCESSORS`


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The model of a series."""

    name: str
    cost: ModelCost


class Results(msgspec.Struct, kw_only=True):
    """All results of one series. Measurements are added during the series."""

    started_at: str  # ISO 8601, UTC
    threads: int
    batch_requests: int
    machine: MachineFacts
    model: ModelFacts
    measurements: list[Measurement] = []
    failures: dict[str, str] = {}  # name of a system -> reason why it could not run

    def rounds_done(self) -> dict[str, int]:
        """Return the number of finished rounds of each system."""
        return {found.system: found.round + 1 for found in sorted(self.measurements, key=lambda found: found.round)}

    def save(self, path: Path) -> None:
        """Write the results as JSON. The file appears complete or not at all."""
        part = path.with_name(path.name + ".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file that `save` wrote. Raises `msgspec.ValidationError` for another file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
