"""The interface of the results store, which holds all state of jobs. A Celery message is only a hint of work."""

from __future__ import annotations

from typing import Protocol

from jobs.stores.client_facets import JobControl, JobReader, Submissions
from jobs.stores.damage import Damage
from jobs.stores.worker_facets import Fleet, ShardRecovery, ShardWork


class JobStore(Protocol):
    """The interface between clients and workers: one facet per kind of work. A caller takes the facet that it needs.

    Thread-safe; every method of a facet is one atomic change or one read.

    Every method raises `StoreUnavailable` when the server cannot be reached, and `StoreFull` when it refuses writes.
    A method that names a job raises `JobNotFound` when the job does not exist. A method that names one job or one
    shard raises `RecordDamaged` when it cannot read a record that it needs. A method that reads many records skips
    a damaged record and notes it in `damage`.

    "To hint" a shard means to send a Celery message that names the shard. Callers send hints; the store does not.
    """

    @property
    def submissions(self) -> Submissions:
        """Submits and extends jobs."""

    @property
    def jobs(self) -> JobReader:
        """Reads jobs."""

    @property
    def control(self) -> JobControl:
        """Cancels, pauses, resumes, retries and deletes jobs."""

    @property
    def work(self) -> ShardWork:
        """Leases shards, and writes their results."""

    @property
    def recovery(self) -> ShardRecovery:
        """Recovers the shards of lost workers."""

    @property
    def fleet(self) -> Fleet:
        """Publishes and reads the reports of workers."""

    @property
    def damage(self) -> Damage:
        """The damaged records that this object has skipped. The caller reports them to the user."""

    def ping(self) -> None:
        """Return if the store answers. Raises `StoreUnavailable` otherwise."""
