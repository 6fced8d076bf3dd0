"""Whether the service is alive, and whether it can work."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.api.listing import json_reply
from server.middleware.api_error import retry_later
from server.state import Services


class HealthApi:
    """Handles /health and /ready, which need no API key."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def alive(self, _request: Request) -> Response:
        """GET /health: answer, without asking anybody."""
        return json_reply({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """GET /ready: answer 200 if the store answers, and this process is not stopping."""
        if self._services.draining.is_set():
            raise retry_later(503, "This server is stopping.", "shutting_down")
        await self._services.store_threads.shared("ping", self._services.stores.jobs.ping)
        return json_reply({"status": "ready"})
