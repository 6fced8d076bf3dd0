"""The histogram of latencies: exact means, quantiles within one percent, merging without loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.stats.latency_histogram import RELATIVE_ERROR, LatencyHistogram, bucket_latency_ms, bucket_of

LATENCIES = st.lists(st.floats(0.001, 1e7), min_size=1, max_size=60)


def histogram_of(latencies: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for latency in latencies:
        histogram.add(latency)
    return histogram


@given(st.floats(0.001, 1e9))
def test_a_bucket_stands_for_each_of_its_latencies_within_the_error(latency: float) -> None:
    assert bucket_latency_ms(bucket_of(latency)) == pytest.approx(latency, rel=RELATIVE_ERROR * 1.0001)


@given(LATENCIES, st.floats(0, 1))
def test_quantiles_are_within_one_percent(latencies: list[float], q: float) -> None:
    exact = sorted(latencies)[max(0, math.ceil(q * len(latencies)) - 1)]
    assert histogram_of(latencies).quantile_ms(q) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.0001)


def test_the_99th_percentile_of_a_small_job_is_its_slowest_line() -> None:
    assert histogram_of([1.0] * 11 + [180_000.0]).quantile_ms(0.99) == pytest.approx(180_000, rel=RELATIVE_ERROR)


@given(LATENCIES)
def test_the_mean_is_exact_to_a_microsecond(latencies: list[float]) -> None:
    exact = math.fsum(latencies) / len(latencies)
    assert histogram_of(latencies).mean_ms() == pytest.approx(exact, abs=0.0006, rel=1e-12)


def test_an_empty_histogram_has_no_figures() -> None:
    assert LatencyHistogram().mean_ms() is None
    assert LatencyHistogram().quantile_ms(0.5) is None


def test_latencies_too_short_to_measure_count_as_a_microsecond() -> None:
    assert histogram_of([0.0]).quantile_ms(0.5) == pytest.approx(0.001, rel=RELATIVE_ERROR * 1.0001)
