"""Publishes the figures of one HTTP process once per second."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from jobs.errors import StoreFull, StoreUnavailable
from server.state import Services

_PERIOD_SECONDS = 1.0


async def publish_figures(services: Services) -> None:
    """Publish until the process stops. A store in trouble misses some reports."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(_PERIOD_SECONDS)
        # A loop that was busy wakes this task up too late.
        services.meter.loop_delay_seconds = max(loop.time() - began - _PERIOD_SECONDS, 0.0)
        with suppress(StoreUnavailable, StoreFull):
            await services.store_threads.run(services.stores.reports.publish, services.meter.report())
