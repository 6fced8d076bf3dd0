"""The figures of a series: medians over its rounds, and how far these lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.peers.results import Measurement
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.task import Kind

ROUNDS_TO_QUOTE = 3  # of which a figure is the median


class Case(NamedTuple):
    """What was asked of a system."""

    system: str
    kind: Kind
    requests: int
    seed: int


@dataclass(frozen=True)
class Figure:
    """All rounds of one case."""

    rate: float  # tokens a second, of the median round
    lowest: float
    highest: float
    rounds: int
    sample: Measurement  # any of them: token counts are the same in all

    @property
    def spread(self) -> float:
        """(highest - lowest) / median."""
        return (self.highest - self.lowest) / self.rate

    @property
    def may_be_quoted(self) -> bool:
        """Whether it is of enough rounds."""
        return self.rounds >= ROUNDS_TO_QUOTE

    @property
    def mark(self) -> str:
        """What stands behind it where it is shown: an asterisk for too few rounds."""
        return "" if self.may_be_quoted else "*"


def figures(measurements: Iterable[Measurement]) -> dict[Case, Figure]:
    """One figure a case. Raises `ValueError` if a case was not the same work in every round."""
    groups: dict[Case, list[Measurement]] = {}
    for found in measurements:
        groups.setdefault(Case(found.system, found.kind, found.requests, found.seed), []).append(found)
    return {case: _figure(case, group) for case, group in groups.items()}


def _figure(case: Case, group: list[Measurement]) -> Figure:
    work = {(found.input_tokens, found.output_tokens, found.longest_output) for found in group}
    if len(work) > 1:
        raise ValueError(f"{case} was different work in different rounds: {sorted(work)}")
    rates = [found.rate for found in group]
    return Figure(statistics.median(rates), min(rates), max(rates), len(rates), group[0])


def ratio(ours: Figure | None, theirs: Figure | None) -> float | None:
    """Of the medians; None where one is missing."""
    return None if ours is None or theirs is None else ours.rate / theirs.rate


def systems_of(found: Iterable[Case]) -> list[str]:
    """Keys of the systems that have a figure: ours first, then as `SYSTEMS` has them."""
    present = {case.system for case in found}
    return sorted((key for key in SYSTEMS if key in present), key=lambda key: not SYSTEMS[key].is_ours)
