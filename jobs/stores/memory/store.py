"""A results store in a dictionary, for tests of code that uses a store. It also states the store's rules plainly."""

from __future__ import annotations

from collections.abc import Callable

from jobs.stores.damage import Damage
from jobs.stores.memory.control import MemoryJobControl
from jobs.stores.memory.fleet import MemoryFleet
from jobs.stores.memory.job_reader import MemoryJobReader
from jobs.stores.memory.recovery import MemoryRecovery
from jobs.stores.memory.submissions import MemorySubmissions
from jobs.stores.memory.table import JobTable
from jobs.stores.memory.work import MemoryShardWork


class MemoryJobStore:
    """A `JobStore` in memory; the protocols of its facets document each method. Thread-safe.

    Its data is lost with the process.

    Args:
        clock: Returns seconds since the epoch. Leases expire by this clock, as they do by a server's clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.table = JobTable(clock)
        self.submissions = MemorySubmissions(self.table)
        self.jobs = MemoryJobReader(self.table)
        self.control = MemoryJobControl(self.table)
        self.work = MemoryShardWork(self.table)
        self.recovery = MemoryRecovery(self.table)
        self.fleet = MemoryFleet(self.table)
        self.damage = Damage()  # always empty: Python objects cannot become unreadable

    def ping(self) -> None:
        """Do nothing: this store is always reachable."""
