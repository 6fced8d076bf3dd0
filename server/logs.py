"""The log of the service, on stderr."""

from __future__ import annotations

import logging
import sys


def set_up_logs(level: str) -> None:
    """Send the log of this process to stderr.

    Args:
        level: Lowest level of messages: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("server").setLevel(level.upper())
