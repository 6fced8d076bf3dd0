"""What was measured, and where: the file that tables and plots are made of."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.peers.task import Kind
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
    others_share: float  # of all processors, used by other programs while the system ran
    more: dict[str, float | None] = {}  # statistics of our own runs

    @property
    def rate(self) -> float:
        """Tokens a second: prompt tokens for a prefill, else those that were asked for."""
        return (self.input_tokens if self.kind == "prefill" else self.output_tokens) / self.seconds


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    processor: str
    cores: int  # physical ones that this process may use
    instructions: tuple[str, ...]  # those that matter to matrix products
    memory_bytes: int
    system: str
    python: str
    speed: MachineSpeed


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was run."""

    name: str
    cost: ModelCost


class Results(msgspec.Struct, kw_only=True):
    """Everything of one series; measurements are added as they come."""

    started_at: str  # ISO 8601, UTC
    threads: int
    batch_requests: int
    machine: MachineFacts
    model: ModelFacts
    measurements: list[Measurement] = []
    failures: dict[str, str] = {}  # of systems that could not run

    def rounds_done(self) -> dict[str, int]:
        """Of each system."""
        return {found.system: found.round + 1 for found in sorted(self.measurements, key=lambda found: found.round)}

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        part = path.with_name(path.name + ".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """What `save` wrote. Raises `msgspec.ValidationError` for another file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
