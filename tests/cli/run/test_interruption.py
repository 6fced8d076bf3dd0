"""A signal interrupts `run`, at whatever moment it comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from cli.run.interruption import Interruption

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Gives the signals their default meaning, whatever the starter of the tests ignores. Then the old one is back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    interruption = Interruption()
    interruption.check()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_an_object_is_destroyed_interrupts_at_the_next_check(number: signal.Signals) -> None:
    class Short:
        def __del__(self) -> None:
            signal.raise_signal(number)

    interruption = Interruption()
    Short()  # Python drops what a destructor raises
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_an_ignored_signal_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    interruption = Interruption()
    signal.raise_signal(number)
    interruption.check()
