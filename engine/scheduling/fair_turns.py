"""Whose lines come first among those that wait: jobs share the engine, however many lines each of them has in it."""

from __future__ import annotations

import threading

LINES_A_TURN = 4  # of one flow, before the next flow's: small, because a turn is as long as the wait for a newcomer
FLOWS_KEPT = 256


class FairTurns:
    """Numbers turns by start-time fair queueing; smaller ones are served first. Thread-safe.

    A flow's lines take turns one after the other. A flow that was not there before begins with the turn that is being
    served now, not behind the lines that wait. Source: Goyal, Vin and Cheng, "Start-time fair queueing", SIGCOMM 1996.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_line: dict[str, int] = {}  # of each flow, counted from the engine's first turn on

    def take(self, flow: str, count: int, now: int) -> list[int]:
        """Turns for `count` lines of a flow, in their order.

        Args:
            now: The turn that is being served.
        """
        with self._lock:
            if len(self._next_line) > FLOWS_KEPT:
                present = now * LINES_A_TURN
                self._next_line = {name: line for name, line in self._next_line.items() if line > present}
            first = max(now * LINES_A_TURN, self._next_line.get(flow, 0))
            self._next_line[flow] = first + count
        return [line // LINES_A_TURN for line in range(first, first + count)]
