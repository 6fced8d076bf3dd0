"""How the worker's log looks."""

from __future__ import annotations

import logging
import warnings

from celery.platforms import SecurityWarning

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHATTY = ("celery", "kombu", "httpx", "huggingface_hub", "torch")  # of these, warnings are enough


def set_up_logs(level: str) -> None:
    """One line an event, on stderr; `level` is debug, info, warning or error."""
    logging.basicConfig(level=level.upper(), format=FORMAT)
    warnings.simplefilter("ignore", SecurityWarning)  # Celery's, about pickle as root: we read JSON only
    if level != "debug":
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
