"""The clerk's child processes, with programs that stand in for the real work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from jobs.batches.agenda import Entry
from server.clerk import children as module
from server.clerk.children import IDLE_SECONDS, NICENESS, Children
from server.options import ServeOptions

FAILS = "raise SystemExit(1)"
WORKS = "import os, sys\nfor order in sys.stdin: os.write(1, b'.')"
HANGS = "import signal\nsignal.pause()"
Programs = Callable[..., None]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    """`programs(A, B)`: the first child that starts runs A, and those after it B."""

    def use(*texts: str) -> None:
        left = list(texts)

        def command(_program: object, _signal: object) -> list[str]:
            return [sys.executable, "-c", left.pop(0) if len(left) > 1 else left[0]]

        monkeypatch.setattr("server.clerk.children.tether.command", command)

    return use


@contextmanager
def some_children() -> Iterator[Children]:
    """For the block, children that are stopped afterwards."""
    children = Children(ServeOptions("unused"))
    try:
        yield children
    finally:
        children.stop()


def entry(number: int) -> Entry:
    """The entry of a batch."""
    return Entry("p", f"batch_{number}")


def ended(children: Children) -> list[tuple[Entry, float]]:
    """Wait until a batch is handled."""
    children.wait(60.0)
    return children.ended()


def process_ids(children: Children) -> list[int]:
    """The processes that work on a batch or wait for one."""
    return [child.process.pid for child in [*children._busy.values(), *children._free]]


def test_one_child_handles_many_batches_one_after_the_other(programs: Programs) -> None:
    programs(WORKS)
    with some_children() as children:
        seen = set()
        for number in range(20):
            assert children.start("import_batch", entry(number))
            assert children.running() == {entry(number)}
            assert ended(children) == [(entry(number), 0.0)]
            seen.update(process_ids(children))
    assert len(seen) == 1


def test_a_child_that_had_nothing_to_do_for_some_time_ends(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(WORKS)
    with some_children() as children:
        assert children.start("import_batch", entry(1))
        ended(children)
        (first,) = process_ids(children)
        now = time.monotonic()
        for later, left in ((IDLE_SECONDS - 1, [first]), (IDLE_SECONDS + 1, [])):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda seconds=later: now + seconds))
            assert (children.ended(), process_ids(children)) == ([], left)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


def test_a_child_that_fails_again_and_again_is_started_after_longer_and_longer_pauses(programs: Programs) -> None:
    programs(FAILS, FAILS, WORKS)
    with some_children() as children:
        waits = []
        for _ in range(3):
            assert children.start("import_batch", entry(1))
            waits += ended(children)
        programs(FAILS)
        os.kill(process_ids(children)[0], 9)
        assert children.start("import_batch", entry(1))  # of the child that was free, and is dead
        waits += ended(children)
    assert waits == [(entry(1), 1.0), (entry(1), 2.0), (entry(1), 0.0), (entry(1), 1.0)]


def test_a_finish_does_not_wait_for_the_imports_of_many_batches(programs: Programs) -> None:
    programs(WORKS)
    with some_children() as children:  # those that have ended count until somebody asks for them
        started = [children.start("import_batch", entry(number)) for number in range(3)]
        finishes = [children.start("finish_batch", entry(number)) for number in range(3, 5)]
    assert (started, finishes) == ([True, True, False], [True, False])


def test_a_child_gives_way_to_the_processes_that_answer_clients(programs: Programs) -> None:
    programs(WORKS)
    with some_children() as children:
        assert children.start("import_batch", entry(1))
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process_ids(children)[0]) == max(own, NICENESS)


def test_a_child_that_does_not_end_is_killed(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(HANGS)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.0)
    with some_children() as children:
        assert children.start("import_batch", entry(1))
        (hanging,) = process_ids(children)
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
