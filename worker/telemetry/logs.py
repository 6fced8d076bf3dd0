"""How the worker's log looks."""

from __future__ import annotations

import logging
import warnings

from celery.platforms import SecurityWarning

from jobs.errors import InvalidInput
from jobs.harmless import harmless_lines
from worker.telemetry.json_logs import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHATTY = ("celery", "kombu", "httpx", "huggingface_hub", "torch")  # of these, warnings are enough
REPEATING = "kombu.transport.redis"  # warns of a server in trouble every second; `StoreLink` says it once


class TextFormatter(logging.Formatter):
    """For people: what a line or a server wrote, and an error quotes, cannot move their terminal's cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless_lines(super().format(record))


def set_up_logs(level: str, line_format: str, worker_id: str) -> None:
    """One line an event, on stderr.

    Args:
        level: debug, info, warning or error.
        line_format: text or json.
        worker_id: Who writes, for JSON.

    Raises:
        InvalidInput: There is no such level or format.
    """
    if level not in LEVELS:
        raise InvalidInput(f"`log_level` is {level!r}; it must be one of {', '.join(LEVELS)}.")
    if line_format not in FORMATS:
        raise InvalidInput(f"`log_format` is {line_format!r}; it must be one of {', '.join(FORMATS)}.")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(worker_id) if line_format == "json" else TextFormatter(FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    warnings.simplefilter("ignore", SecurityWarning)  # Celery's, about pickle as root: we read JSON only
    if level != "debug":
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(REPEATING).setLevel(logging.ERROR)
