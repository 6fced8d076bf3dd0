"""The clerk: `python -m server.clerk.main OPTIONS`. It turns uploaded files into jobs, and ended jobs into files.

Several clerks may run on one store. The agenda gives each entry to one of them for some seconds at a time, and every
step can be done twice without harm. So a clerk that dies only costs time.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from contextlib import suppress

import msgspec

from jobs.batches.agenda import Agenda, Entry
from jobs.errors import QwenBatchError, StoreFull, StoreUnavailable
from jobs.exit_codes import code_of_error
from jobs.settings import Settings
from server.clerk.children import Children, Work
from server.clerk.next_step import NextStep
from server.clerk.sweep import Sweep
from server.logs import set_up_logs
from server.options import ServeOptions
from server.stores import open_stores

POLL_SECONDS = 0.2
LEASE_SECONDS = 10.0  # an entry of a dead clerk is due again after this time
_RENEW_SECONDS = 3.0
_ENTRIES_AT_ONCE = 50
_log = logging.getLogger("server.clerk")


class Clerk:
    """Looks at the agenda several times per second, until it is asked to stop."""

    def __init__(self, settings: Settings, options: ServeOptions) -> None:
        stores = open_stores(settings, options.files)
        self._agenda = stores.agenda
        self._lines: dict[Work, Agenda] = {
            "import_batch": stores.waiting.imports,
            "finish_batch": stores.waiting.finishes,
        }
        self._children = Children(options)
        self._next_step = NextStep(stores, options, self._children.start)
        self._sweep = Sweep(stores)
        self._stop = threading.Event()
        self._renewed_at = 0.0

    def ask_to_stop(self) -> None:
        """End after the current look."""
        self._stop.set()

    def run(self) -> None:
        """Work until `ask_to_stop`. While the store is in trouble, the clerk waits."""
        while not self._stop.is_set():
            with suppress(StoreUnavailable, StoreFull):
                self._look()
            self._children.wait(POLL_SECONDS)
        self._children.stop()

    def _look(self) -> None:
        for entry, seconds in self._children.ended():
            self._agenda.schedule(entry, time.time() + seconds)
        if time.monotonic() - self._renewed_at > _RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            for entry in self._children.running():
                self._agenda.schedule(entry, time.time() + LEASE_SECONDS)
        for work, line in self._lines.items():
            for entry in line.take(self._children.room(work), LEASE_SECONDS):
                line.drop(entry)
                self._agenda.schedule(entry, time.time() + LEASE_SECONDS)
                self._take(entry)
        for entry in self._agenda.take(_ENTRIES_AT_ONCE, LEASE_SECONDS):
            self._take(entry)
        self._sweep.take_turn()

    def _take(self, entry: Entry) -> None:
        if entry in self._children.running():
            return
        try:
            self._next_step.take(entry)
        except (StoreUnavailable, StoreFull):
            raise
        except QwenBatchError:
            _log.exception("%s cannot be handled", entry)


def main(arguments: list[str]) -> int:
    """Run a clerk until SIGTERM. Returns the exit code."""
    options, settings = msgspec.json.decode(arguments[0], type=ServeOptions), Settings.from_env()
    set_up_logs(settings.log_level)
    try:
        clerk = Clerk(settings, options)
    except QwenBatchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent shows it
        return code_of_error(error)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: clerk.ask_to_stop())
    clerk.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
