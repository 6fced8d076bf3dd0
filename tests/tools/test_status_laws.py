"""The program of fifty pollers notices a status that goes back and a count that falls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.clients.programs.status_laws import Sight, faults_in, statuses_in

LIFE = [
    Sight(0.0, 1.0, "validating", 0, 0, 0),
    Sight(2.0, 3.0, "in_progress", 9, 2, 0),
    Sight(4.0, 5.0, "finalizing", 9, 8, 1),
    Sight(6.0, 7.0, "completed", 9, 8, 1),
]


def test_a_life_without_faults_has_none() -> None:
    assert faults_in(LIFE) == []
    assert statuses_in(LIFE[::-1]) == ["validating", "in_progress", "finalizing", "completed"]


def test_answers_to_requests_at_one_time_may_come_in_any_order() -> None:
    assert faults_in([replace(sight, began=0.0, ended=9.0 - place) for place, sight in enumerate(LIFE)]) == []


@pytest.mark.parametrize(
    "late",
    [
        Sight(8.0, 9.0, "in_progress", 9, 8, 1),
        Sight(8.0, 9.0, "expired", 9, 8, 1),
        Sight(8.0, 9.0, "completed", 8, 8, 0),
        Sight(8.0, 9.0, "completed", 9, 7, 2),
        Sight(8.0, 9.0, "completed", 9, 8, 0),
        Sight(8.0, 9.0, "completed", 9, 8, 2),
    ],
)
def test_an_answer_that_breaks_a_law_is_a_fault(late: Sight) -> None:
    assert len(faults_in([late, *LIFE])) == 1
