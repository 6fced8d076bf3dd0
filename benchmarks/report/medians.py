"""The figures of a series: medians over its rounds, and the spread between rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.peers.series.results import Measurement
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.tasks.task import Kind

ROUNDS_TO_QUOTE = 3  # min rounds of a figure that may be quoted


class Case(NamedTuple):
    """A task of one system."""

    system: str
    kind: Kind
    requests: int
    seed: int


@dataclass(frozen=True)
class Figure:
    """The rates of all rounds of one case."""

    rate: float  # tokens per second of the median round
    lowest: float
    highest: float
    rounds: int
    sample: Measurement  # any of the measurements: token counts are the same in all, but for records

    @property
    def spread(self) -> float:
        """(highest - lowest) / median."""
        return (self.highest - self.lowest) / self.rate

    @property
    def may_be_quoted(self) -> bool:
        """True if the figure has enough rounds to be quoted."""
        return self.rounds >= ROUNDS_TO_QUOTE

    @property
    def mark(self) -> str:
        """The mark behind the figure: an asterisk for too few rounds, else nothing."""
        return "" if self.may_be_quoted else "*"


def figures(measurements: Iterable[Measurement]) -> dict[Case, Figure]:
    """Return one figure per case. Raises `ValueError` if the work of a case differs between rounds."""
    groups: dict[Case, list[Measurement]] = {}
    for found in measurements:
        groups.setdefault(Case(found.system, found.kind, found.requests, found.seed), []).append(found)
    return {case: _figure(case, group) for case, group in groups.items()}


def _figure(case: Case, group: list[Measurement]) -> Figure:
    work = {(found.input_tokens, found.output_tokens, found.longest_output) for found in group}
    if len(work) > 1 and case.kind != "records":  # a record ends by itself
        raise ValueError(f"{case} was different work in different rounds: {sorted(work)}")
    rates = [found.rate for found in group]
    return Figure(statistics.median(rates), min(rates), max(rates), len(rates), group[0])


def ratio(ours: Figure | None, theirs: Figure | None) -> float | None:
    """Return the ratio of the medians, or None if one is missing."""
    return None if ours is None or theirs is None else ours.rate / theirs.rate


def systems_of(found: Iterable[Case]) -> list[str]:
    """Return the keys of the systems that have a figure: ours first, the others in the order of `SYSTEMS`."""
    present = {case.system for case in found}
    return sorted((key for key in SYSTEMS if key in present), key=lambda key: not SYSTEMS[key].is_ours)
