"""Numbers as people read them."""

from __future__ import annotations

import pytest

from jobs.stats import figures


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (0, 0, "0%"),
        (1, 400, "0%"),
        (200, 400, "50%"),
        (399, 400, "99%"),
        (400, 400, "100%"),
        (999, 1_000_000, "0%"),
        (1_000, 1_000_000, "0.1%"),
        (503_999, 1_000_000, "50.3%"),
        (999_999, 1_000_000, "99.9%"),
        (1_000_000, 1_000_000, "100%"),
    ],
)
def test_progress_never_claims_more_than_is_done(done: int, total: int, shown: str) -> None:
    assert figures.progress(done, total) == shown
