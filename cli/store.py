"""Opening the store and the way to send hints, where a command needs them."""

from __future__ import annotations

from jobs.hints import HintSender
from jobs.settings import Settings
from jobs.stores.protocol import JobStore

WATCHER_PATIENCE_SECONDS = 1.5


def open_store(settings: Settings) -> JobStore:
    """The store of the settings' server.

    Raises:
        InvalidInput: The URL is not one.
        StoreUnavailable: The server does not answer, refuses the password, or is no Redis server.
    """
    from jobs.stores.connect import connect

    return connect(settings.redis_url)


def open_store_to_watch(settings: Settings) -> JobStore:
    """The same for a watcher, who wants to know soon that no answer comes, and asks again anyway."""
    from jobs.stores.connect import connect

    return connect(settings.redis_url, reply_timeout_seconds=WATCHER_PATIENCE_SECONDS, retries=0)


def open_hints(settings: Settings) -> HintSender:
    """Sends hints through the settings' server. Loads Celery: only for commands that make work."""
    from jobs.celery_hints import CeleryHints

    return CeleryHints(settings.redis_url)
