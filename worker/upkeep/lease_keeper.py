"""Keeps the leases of this worker alive, and says so when one ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from jobs.errors import StoreFull, StoreUnavailable
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

OnEnd = Callable[[LeaseStatus], None]


class HeldLease:
    """A lease that the keeper renews until it is let go or found to have ended."""

    def __init__(self, lease: Lease, expires_at: float, on_end: OnEnd) -> None:
        self.lease = lease
        self.expires_at = expires_at  # by the local monotonic clock: never later than the server's own deadline
        self._on_end = on_end
        self._told = False

    def tell(self, status: LeaseStatus) -> None:
        """Pass on, once, that the lease is no longer simply held."""
        if not self._told:
            self._told = True
            self._on_end(status)


class LeaseKeeper:
    """Takes leases and renews all of them from one heartbeat thread, four times in their time to live.

    While the store cannot be reached it keeps trying. A lease whose time to live has passed since the last renewal that
    worked counts as lost, by the local monotonic clock: wall clocks of machines differ, and the server's clock is out
    of reach.

    Args:
        store: Where the leases are.
        worker_id: In whose name they are taken.
        ttl_seconds: How long a lease lives without a renewal.
        link: Told of every call that failed or worked.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        worker_id: str,
        ttl_seconds: float,
        link: StoreLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._ttl = ttl_seconds
        self._link = link
        self._clock = clock
        self._lock = threading.Lock()
        self._held: list[HeldLease] = []
        self._heartbeat = Periodic("lease-heartbeat", self.renew_all, ttl_seconds / 4)
        self._watch = Periodic("lease-watch", self.give_up_expired, ttl_seconds / 8)  # never waits for the network

    def start(self) -> None:
        """Begin the heartbeat."""
        self._heartbeat.start()
        self._watch.start()

    def stop(self) -> None:
        """End the heartbeat; leases still held expire by themselves."""
        self._watch.stop()
        self._heartbeat.stop()

    def take(self, shard: ShardRef, on_end: OnEnd, alone: bool = False) -> HeldLease | None:
        """Lease a shard and keep it; None when there is nothing to do (`JobStore.lease`).

        `on_end` is called once, on the heartbeat thread, with CANCELLED or PAUSED (the lease is still held and
        renewed) or LOST (it is not). It must be quick. Raises what `JobStore.lease` raises.
        """
        asked_at = self._clock()
        lease = self._store.lease(shard, self._worker_id, self._ttl, alone)
        return None if lease is None else self._keep(lease, asked_at, on_end)

    def take_next(self, model: str, on_end: OnEnd, passing_over: Collection[str] = ()) -> HeldLease | ShardRef | None:
        """The same for the shard that is next (`JobStore.lease_next`); a `ShardRef` is one that must be run alone."""
        asked_at = self._clock()
        found = self._store.lease_next(model, self._worker_id, self._ttl, passing_over)
        return self._keep(found, asked_at, on_end) if isinstance(found, Lease) else found

    def take_backup(self, model: str, on_end: OnEnd, least_seconds: float) -> HeldLease | None:
        """The same as the second runner of a slow shard (`JobStore.back_up`)."""
        asked_at = self._clock()
        lease = self._store.back_up(model, self._worker_id, self._ttl, least_seconds)
        return None if lease is None else self._keep(lease, asked_at, on_end)

    def _keep(self, lease: Lease, asked_at: float, on_end: OnEnd) -> HeldLease:
        held = HeldLease(lease, asked_at + self._ttl, on_end)
        with self._lock:
            self._held.append(held)
        return held

    def let_go(self, held: HeldLease) -> None:
        """Renew this lease no more. It may be gone already."""
        with self._lock:
            if held in self._held:
                self._held.remove(held)

    def leases(self) -> list[Lease]:
        """What is held at this moment."""
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
            statuses = self._store.renew([held.lease for held in round_], self._ttl)
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            return
        self._link.worked()
        for held, status in zip(round_, statuses, strict=True):
            self._renewed(held, asked_at, status)

    def give_up_expired(self) -> None:
        """Lose the leases whose time has passed without a renewal."""
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
