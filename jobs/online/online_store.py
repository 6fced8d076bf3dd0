"""The interface through which HTTP processes and workers exchange interactive requests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, Protocol

from jobs.online.messages import Abort, OnlineRequest, ReplyEntry

SERVER_SECONDS = 5.0  # an HTTP process that has not reported for this time is gone
WORKER_SECONDS = 3.0  # a worker that has not reported for this time has lost its requests
MAX_ENTRIES = 20_000  # approximate max entries of a server's stream; the oldest ones are dropped
BEGIN = "0"  # place before the first entry of a stream


Acceptance = Literal["accepted", "no_worker", "queue_full"]


class PlacedEntry(NamedTuple):
    """An entry with its place in the server's stream."""

    place: str  # pass it to `OnlineServerSide.replies` to get the entries after this one
    entry: ReplyEntry


class OnlineServerSide(Protocol):
    """Operations of an HTTP process. Thread-safe. Every method raises `StoreUnavailable` or `StoreFull`.

    A request is lost if its worker dies between `take` and `Taken`. The HTTP process therefore looks with `is_waiting`
    after a request that nobody has taken, and pushes the next attempt if the request has gone.
    """

    def now(self) -> float:
        """Return the time by the store's clock, in seconds since the epoch."""

    def accept(self, request: OnlineRequest, max_waiting: int) -> Acceptance:
        """Report the request's server, and let the request wait for a worker. Both take one round trip.

        Args:
            request: The first attempt.
            max_waiting: The request is refused if so many requests wait for its model.

        Returns:
            "no_worker" or "queue_full" if the request is refused. Some workers may only finish their requests.
        """

    def push(self, request: OnlineRequest, front: bool = False) -> None:
        """Let a request wait for a worker. `front` puts it before all others: a second attempt has waited already."""

    def waiting(self, model: str) -> int:
        """Return the number of requests that wait for a worker of this model."""

    def is_waiting(self, request: OnlineRequest) -> bool:
        """Return whether exactly this attempt still waits for a worker."""

    def withdraw(self, request: OnlineRequest) -> bool:
        """Remove a request that waits. Returns False if a worker has it: then call `abort` when `Taken` comes."""

    def abort(self, model: str, worker: str, request_id: str) -> None:
        """Tell a worker to stop working on a request. Has no effect if the worker has finished it."""

    def replies(self, server: str, after: str, block_seconds: float) -> list[PlacedEntry]:
        """Return the entries for a server after a place, oldest first. Waits for the first one if there is none.

        An entry that cannot be read is skipped, and `damage` of the store notes it. Its number is then missing.

        Args:
            server: The server.
            after: Place of the last known entry, or `BEGIN`.
            block_seconds: Max time to wait, above 0. The list is empty if nothing came.
        """

    def report_server(self, server: str) -> float:
        """Show for `SERVER_SECONDS` that a server is alive. Workers stop working for a server that is not.

        Returns the time by the store's clock, in seconds since the epoch.
        """

    def live_workers(self, model: str) -> list[str]:
        """Return the ids of the workers that serve a model, sorted. Some may only finish their requests."""


class OnlineWorkerSide(Protocol):
    """Operations of a worker. Thread-safe. Every method raises `StoreUnavailable` or `StoreFull`."""

    def now(self) -> float:
        """Return the time by the store's clock, in seconds since the epoch."""

    def take(
        self, model: str, worker: str, block_seconds: float, requests: bool = True
    ) -> OnlineRequest | Abort | None:
        """Take the next order to this worker, or else the next request that waits. Waits if there is neither.

        Idle workers are served in the order of their calls.

        Args:
            model: The served model.
            worker: The worker's id.
            block_seconds: Max time to wait, above 0. Returns None if nothing came.
            requests: False to take orders only, because the worker has no place for a request.

        Raises:
            RecordDamaged: What was taken cannot be read. It is gone.
        """

    def reply(self, server: str, entry: ReplyEntry) -> None:
        """Send replies to a server. A call that is repeated may store the entry twice, with the same number."""

    def live_servers(self, servers: Collection[str]) -> set[str]:
        """Return those of the servers that are alive."""

    def report_worker(self, model: str, worker: str) -> None:
        """Show for `WORKER_SECONDS` that a worker is alive and works on its requests for a model."""

    def forget_worker(self, model: str, worker: str) -> None:
        """Show that a worker stops. It has given its requests back."""


class OnlineStore(OnlineServerSide, OnlineWorkerSide, Protocol):
    """Both sides, which every implementation offers."""
