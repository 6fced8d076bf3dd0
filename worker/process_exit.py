"""End the process at once: at the second signal, or when there is nothing left to do."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from types import FrameType


def exit_at_next_signal() -> None:
    """Make the next SIGTERM or Ctrl-C end the process at once. Safe in a signal handler."""
    signal.signal(signal.SIGTERM, _exit_now)
    signal.signal(signal.SIGINT, _exit_now)


def _exit_now(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


class QuickExit:
    """Skips the interpreter's own teardown.

    With PyTorch, the teardown takes about a second, and it only frees memory that the kernel frees anyway. `atexit`
    handlers that were registered after this object was made still run, so make it early.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def arm(self, code: int) -> None:
        """From now on, let the process end without the teardown, with exit code `code`."""
        self._code = code

    def _leave(self) -> None:
        if self._code is None:
            return
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self._code)
