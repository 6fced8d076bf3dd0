"""What a signal does to `run`: it ends in order, and the same command continues later."""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Turns SIGINT (Ctrl-C), SIGTERM and SIGHUP into `KeyboardInterrupt`. Create it in the main thread.

    Python drops an exception that is raised while an object is destroyed. So the signal is remembered too, and `check`
    raises it again. A signal that is ignored stays so: `nohup` ignores SIGHUP.
    """

    def __init__(self) -> None:
        self._happened = False
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if there has been a signal."""
        if self._happened:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._happened = True
        raise KeyboardInterrupt
