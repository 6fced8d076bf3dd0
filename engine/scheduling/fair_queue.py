"""Fair queueing: jobs share the engine equally, no matter how many lines each has waiting."""

from __future__ import annotations

import threading

LINES_PER_TURN = 4  # lines of one flow per turn: few, because a newcomer waits for the end of the current turn
FLOWS_KEPT = 256  # with more known flows, flows without a waiting line are forgotten


class FairQueue:
    """Assigns turn numbers by start-time fair queueing. Smaller numbers are served first. Thread-safe.

    The lines of one flow get consecutive turns. A new flow starts at the turn that is being served now, not behind the
    waiting lines of other flows. Source: Goyal, Vin and Cheng, "Start-time fair queueing", SIGCOMM 1996.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_line: dict[str, int] = {}  # next line number per flow; line 0 begins the engine's first turn

    def take(self, flow: str, count: int, now: int) -> list[int]:
        """Return the turns of the next `count` lines of a flow, in order.

        Args:
            flow: Name of the flow.
            count: Number of lines.
            now: The turn that is being served.
        """
        with self._lock:
            if len(self._next_line) > FLOWS_KEPT:
                present = now * LINES_PER_TURN
                self._next_line = {name: line for name, line in self._next_line.items() if line > present}
            first = max(now * LINES_PER_TURN, self._next_line.get(flow, 0))
            self._next_line[flow] = first + count
        return [line // LINES_PER_TURN for line in range(first, first + count)]
