"""A worker, and if need be a private server, for a long-lived command such as `serve --with-worker`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import msgspec

from cli.console.console import Console
from cli.run.embedded_server import EmbeddedServer
from cli.run.local_workers import LocalWorkers
from cli.run.state_lock import StateLock
from jobs.settings import Settings

_RESTART_PERIOD_SECONDS = 60.0  # the max number of restarts counts per this time


@contextmanager
def own_backend(settings: Settings, embedded: bool, console: Console) -> Iterator[tuple[Settings, Callable[[], None]]]:
    """Start a worker, and a private Redis server if `embedded`. Both end with the block.

    Yields the settings with the URL of the server in use, and a function that restarts a crashed worker. Call it
    several times per second.

    Raises:
        InvalidInput: Another process uses the state folder.
        StoreUnavailable: No server binary is installed, or the server does not start.
        LocalWorkerFailed: The worker cannot load its model, or crashes often. The returned function raises it.
    """
    folder = settings.state_folder() / "serve"
    with StateLock(folder), EmbeddedServer(folder) if embedded else nullcontext() as server:
        if server is not None:
            settings = msgspec.structs.replace(settings, redis_url=server.url)
        console.detail(f"The worker's log is {folder}/worker-1.log.")
        without_key = msgspec.structs.replace(settings, api_key=None)  # the worker has no use for it
        with LocalWorkers(without_key, 1, folder, console.warn, console.say) as workers:
            # A service has no end, so the time that passes counts as its progress.
            yield settings, lambda: workers.check(int(time.monotonic() / _RESTART_PERIOD_SECONDS))
