"""Work done on a thread of its own comes back, and leaves no thread behind."""

from __future__ import annotations

import threading

import pytest

from engine.execution.short_thread import on_a_short_thread


def test_the_result_comes_back_and_the_thread_has_ended() -> None:
    thread = on_a_short_thread(threading.current_thread)
    assert thread is not threading.current_thread()
    thread.join(60)
    assert not thread.is_alive()


def test_an_error_is_raised_where_the_work_was_asked_for() -> None:
    def fail() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        on_a_short_thread(fail)
