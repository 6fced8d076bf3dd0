"""What the log says of a store that does not answer: each trouble once, however often it comes and goes."""

from __future__ import annotations

import logging
import threading

import pytest

from jobs.errors import StoreUnavailable
from testing.environment.hand_clock import HandClock
from worker.upkeep.store_link import SILENT_SECONDS, StoreLink


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def link(clock: HandClock, caplog: pytest.LogCaptureFixture) -> StoreLink:
    caplog.set_level(logging.INFO)
    return StoreLink(threading.Event(), clock)


def fail_and_recover(link: StoreLink, clock: HandClock, reason: str) -> None:
    link.failed(StoreUnavailable(reason))
    clock.advance(0.5)
    link.worked()


def test_a_trouble_that_comes_and_goes_is_logged_once_a_minute(
    link: StoreLink, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        fail_and_recover(link, clock, "one key cannot be read")
    first, second = caplog.messages
    assert first.endswith("one key cannot be read")
    assert second == "the store is back after 0.5 s"
    clock.advance(SILENT_SECONDS)
    fail_and_recover(link, clock, "one key cannot be read")
    assert caplog.messages[2:] == [first, second]


def test_another_trouble_is_logged_at_once(link: StoreLink, clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    fail_and_recover(link, clock, "one key cannot be read")
    fail_and_recover(link, clock, "the connection is refused")
    assert [message.rpartition(": ")[2] for message in caplog.messages[::2]] == [
        "one key cannot be read",
        "the connection is refused",
    ]


def test_a_trouble_that_is_not_logged_is_known_all_the_same(link: StoreLink, clock: HandClock) -> None:
    fail_and_recover(link, clock, "one key cannot be read")
    link.failed(StoreUnavailable("one key cannot be read"))
    assert link.failing
