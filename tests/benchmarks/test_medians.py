"""A figure is the median of its rounds, and of equal work alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.peers.series.results import Results
from benchmarks.report.medians import Case, figures, ratio
from tests.benchmarks.measurements import measurement, session


def test_one_slow_round_does_not_move_the_figure_but_shows_in_the_spread() -> None:
    found = figures(measurement("run", seconds) for seconds in (1.0, 1.0, 4.0))
    (figure,) = found.values()
    assert (figure.rate, figure.lowest, figure.highest, figure.rounds) == (100, 25, 100, 3)
    assert figure.spread == pytest.approx(0.75)


def test_another_system_kind_size_or_seed_is_another_figure() -> None:
    found = figures(
        [
            measurement("run", 1),
            measurement("engine", 1),
            measurement("run", 1, kind="streams"),
            measurement("run", 1, requests=8),
            measurement("run", 1, seed=1),
        ]
    )
    assert len(found) == 5
    assert Case("run", "batch", 64, 1) in found


def test_a_prefill_counts_the_prompts_tokens() -> None:
    assert measurement("run", 2, kind="prefill").rate == 500
    assert measurement("run", 2).rate == 50


def test_rounds_of_different_work_have_no_median() -> None:
    other = msgspec.structs.replace(measurement("run", 1), output_tokens=99)
    with pytest.raises(ValueError, match="different work"):
        figures([measurement("run", 1), other])


def test_a_ratio_needs_both_sides() -> None:
    found = figures([measurement("run", 1), measurement("openvino", 2)])
    ours, theirs = found.values()
    assert ratio(ours, theirs) == 2
    assert ratio(ours, None) is None
    assert ratio(None, theirs) is None


def test_results_read_back_as_they_were_saved(tmp_path: Path) -> None:
    saved = session(measurement("run", 1), measurement("openvino", 2))
    saved.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == saved
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
