"""Renew the leases of this worker, and report when one ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from jobs.errors import StoreFull, StoreUnavailable
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.stores.worker_facets import Leased, RunAlone, ShardWork
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

OnEnd = Callable[[LeaseStatus], None]


class HeldLease:
    """A lease that the keeper renews until `let_go`, or until the lease has ended."""

    def __init__(self, lease: Lease, expires_at: float, on_end: OnEnd) -> None:
        self.lease = lease
        self.expires_at = expires_at  # by the local monotonic clock; never later than the server's own expiry
        self._on_end = on_end
        self._told = False

    def tell(self, status: LeaseStatus) -> None:
        """Call `on_end` with a status other than HELD. Later calls do nothing."""
        if not self._told:
            self._told = True
            self._on_end(status)


class LeaseKeeper:
    """Takes leases, and renews all of them on one heartbeat thread, four times per time to live.

    While the store cannot be reached, it tries again. A lease counts as lost when its time to live has passed since the
    last successful renewal. The local monotonic clock decides that, because wall clocks of machines differ and the
    server's clock cannot be read then.

    Args:
        work: The store's facet for leases.
        worker_id: Id of the worker that takes the leases.
        ttl_seconds: Time to live of a lease without a renewal.
        link: Gets the outcome of each call.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        work: ShardWork,
        worker_id: str,
        ttl_seconds: float,
        link: StoreLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._worker_id = worker_id
        self._ttl = ttl_seconds
        self._link = link
        self._clock = clock
        self._lock = threading.Lock()
        self._held: list[HeldLease] = []
        self._heartbeat = Periodic("lease-heartbeat", self.renew_all, ttl_seconds / 4)
        self._watch = Periodic("lease-watch", self.give_up_expired, ttl_seconds / 8)  # it never waits for the network

    def start(self) -> None:
        """Start the heartbeat."""
        self._heartbeat.start()
        self._watch.start()

    def stop(self) -> None:
        """Stop the heartbeat. Leases that are still held expire."""
        self._watch.stop()
        self._heartbeat.stop()

    def take(self, shard: ShardRef, on_end: OnEnd, isolated: bool = False) -> HeldLease | None:
        """Lease a shard and renew the lease. Returns None when it cannot be leased. Raises as `ShardWork.lease`.

        Args:
            shard: The shard.
            on_end: Called once, on a thread of the keeper, so it must be quick. CANCELLED and PAUSED mean that the
                lease is still held and renewed. LOST means that it is not held any more.
            isolated: True if the worker runs no other shard.
        """
        asked_at = self._clock()
        lease = self._work.lease(shard, self._worker_id, self._ttl, isolated)
        return None if lease is None else self._keep(lease, asked_at, on_end)

    def take_next(self, model: str, on_end: OnEnd, passing_over: Collection[str] = ()) -> HeldLease | RunAlone | None:
        """Lease the next shard and renew the lease, or return as `ShardWork.lease_next`. Raises its errors, too."""
        asked_at = self._clock()
        found = self._work.lease_next(model, self._worker_id, self._ttl, passing_over)
        return self._keep(found.lease, asked_at, on_end) if isinstance(found, Leased) else found

    def take_backup(self, model: str, on_end: OnEnd, min_seconds: float) -> HeldLease | None:
        """Lease a slow shard as its backup and renew the lease (`ShardWork.try_backup`)."""
        asked_at = self._clock()
        lease = self._work.try_backup(model, self._worker_id, self._ttl, min_seconds)
        return None if lease is None else self._keep(lease, asked_at, on_end)

    def _keep(self, lease: Lease, asked_at: float, on_end: OnEnd) -> HeldLease:
        held = HeldLease(lease, asked_at + self._ttl, on_end)
        with self._lock:
            self._held.append(held)
        return held

    def let_go(self, held: HeldLease) -> None:
        """Stop renewing a lease. Does nothing if the lease has ended already."""
        with self._lock:
            if held in self._held:
                self._held.remove(held)

    def leases(self) -> list[Lease]:
        """Return the leases that are held now."""
        with self._lock:
            return [held.lease for held in self._held]

    def renew_all(self) -> None:
        """Renew every lease once."""
        with self._lock:
            round_ = list(self._held)
        if not round_:
            return
        asked_at = self._clock()
        try:
            statuses = self._work.renew([held.lease for held in round_], self._ttl)
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            return
        self._link.worked()
        for held, status in zip(round_, statuses, strict=True):
            self._renewed(held, asked_at, status)

    def give_up_expired(self) -> None:
        """Report the leases that have expired without a renewal as lost."""
        now = self._clock()
        with self._lock:
            expired = [held for held in self._held if now >= held.expires_at]
        for held in expired:
            self._lose(held)

    def _renewed(self, held: HeldLease, asked_at: float, status: LeaseStatus) -> None:
        if status is LeaseStatus.LOST:
            self._lose(held)
            return
        held.expires_at = asked_at + self._ttl
        if status is not LeaseStatus.HELD:
            held.tell(status)

    def _lose(self, held: HeldLease) -> None:
        self.let_go(held)
        held.tell(LeaseStatus.LOST)
