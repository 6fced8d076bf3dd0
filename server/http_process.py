"""One HTTP process: `python -m server.http_process SOCKET OPTIONS`, started by `server.main`.

SOCKET is the number of the inherited listening socket, OPTIONS the `ServeOptions` as JSON. The settings, with the Redis
URL and its password, come from the environment.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec
import uvicorn

from jobs.errors import QwenBatchError, StoreFull, StoreUnavailable
from jobs.exit_codes import code_of_error
from jobs.files.remote.urls import is_url
from jobs.queue.celery_hints import CeleryHints
from jobs.settings import Settings
from server.access.key_ring import KeyRing
from server.app import make_app
from server.in_threads import InThreads
from server.logs import set_up_logs
from server.metrics.http_meter import HttpMeter
from server.online.online_tasks import OnlineTasks
from server.options import ServeOptions
from server.state import Services
from server.stores import open_stores
from server.upload.slots import UploadSlots

_STORE_THREADS = 32
_DISK_THREADS = 16
_DISK_SECONDS = 60.0  # a slow disk is no reason to give an upload up
_OBJECT_SECONDS = 600.0  # an object store gets a whole file at the end of its upload
_KEEP_ALIVE_SECONDS = 75
_PUBLISHING_SECONDS = 1.0  # between two reports of the figures of this process
_END_SECONDS = 2.0  # after the drain time, for streams to send their error


def services_of(settings: Settings, options: ServeOptions) -> Services:
    """Return what the handlers need. Raises as `open_stores` and `KeyRing` do."""
    keys_file = None if options.keys_file is None else Path(options.keys_file)
    meter = HttpMeter()
    return Services(
        options,
        # One repetition, for a connection that the server has closed meanwhile.
        open_stores(settings, options.files, reply_timeout_seconds=options.store_seconds, retries=1),
        KeyRing(keys_file, settings.api_key, time.time),
        InThreads(_STORE_THREADS, options.store_seconds, meter.add_store_call),
        InThreads(_DISK_THREADS, _OBJECT_SECONDS if is_url(options.files) else _DISK_SECONDS),
        UploadSlots(options.limits.uploads, options.limits.project_uploads),
        CeleryHints(settings.redis_url),
        meter,
    )


async def _publish_figures(services: Services) -> None:
    """Publish the figures of this process until it stops. If the store is in trouble, a report is left out."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(_PUBLISHING_SECONDS)
        # A busy loop wakes this task up too late.
        services.meter.loop_delay_seconds = max(loop.time() - began - _PUBLISHING_SECONDS, 0.0)
        with suppress(StoreUnavailable, StoreFull):
            await services.store_threads.run(services.stores.reports.publish, services.meter.report())


class _Server(uvicorn.Server):
    """Tells the handlers that the process is asked to stop, before uvicorn stops."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT."""
        self._services.draining.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and to publish figures."""
        await super().startup(sockets)
        self._publishing = asyncio.ensure_future(_publish_figures(self._services))
        self._online = OnlineTasks(self._services)
        self._online.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections in order."""
        self._publishing.cancel()
        await super().shutdown(sockets)  # waits for the answers, which still need the words of workers
        self._online.stop()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Returns the exit code."""
    descriptor, options = int(arguments[0]), msgspec.json.decode(arguments[1], type=ServeOptions)
    settings = Settings.from_env()
    set_up_logs(settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        services = services_of(settings, options)
    except QwenBatchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent shows it
        return code_of_error(error)
    config = uvicorn.Config(
        make_app(services),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(options.drain_seconds + _END_SECONDS),
    )
    with socket.socket(fileno=descriptor) as listening:
        _Server(config, services).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
