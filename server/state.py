"""State that the handlers of requests share. There are no globals."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property

from jobs.queue.hints import HintSender
from server.access.key_ring import KeyRing
from server.in_threads import InThreads
from server.limits.rate_gate import RateGate
from server.metrics.http_meter import HttpMeter
from server.online.desk import Bounds, OnlineDesk, new_server_id
from server.options import Limits, ServeOptions
from server.stores import Stores
from server.upload.slots import UploadSlots


@dataclass(frozen=True)
class Services:
    """Everything that a handler may use, besides its request."""

    options: ServeOptions
    stores: Stores
    keys: KeyRing
    store_threads: InThreads  # for calls of Redis
    disk_threads: InThreads  # for reads and writes of the file store
    uploads: UploadSlots
    hints: HintSender
    meter: HttpMeter = field(default_factory=HttpMeter)
    draining: asyncio.Event = field(default_factory=asyncio.Event)  # set when the process is asked to stop

    @cached_property
    def online(self) -> OnlineDesk:
        """The interactive requests of this process."""
        limits = self.options.limits
        bounds = Bounds(limits.interactive_requests, limits.interactive_waiting)
        return OnlineDesk(new_server_id(), self.stores.online, self.stores.jobs.fleet, self.store_threads, bounds)

    @cached_property
    def rates(self) -> RateGate:
        """The rates of API keys, for requests of the API and forms of the pages."""
        return RateGate(self.stores.rates, self.store_threads)

    def limits_of(self, project: str) -> Limits:
        """Return the limits of a project: those of the service, but for what the file of API keys says."""
        return self.keys.limits_of(project, self.options.limits)
