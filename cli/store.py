"""Opens the store and the client of the queue for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.console.console import Console
from jobs.settings import Settings
from jobs.stores.protocol import JobStore

if TYPE_CHECKING:
    from jobs.submission.job_client import JobClient

WATCHER_PATIENCE_SECONDS = 1.5


def open_store(settings: Settings) -> JobStore:
    """Open the store on the settings' server.

    Raises:
        InvalidInput: The Redis URL is invalid.
        StoreUnavailable: The server does not answer, refuses the password, or is not a Redis server.
    """
    from jobs.stores.connect import connect

    return _telling_of_damage(connect(settings.redis_url))


def open_store_to_watch(settings: Settings) -> JobStore:
    """Open the store for a watcher, with a short time-out and no retries, because a watcher polls anyway."""
    from jobs.stores.connect import connect

    return _telling_of_damage(connect(settings.redis_url, reply_timeout_seconds=WATCHER_PATIENCE_SECONDS, retries=0))


def _telling_of_damage(store: JobStore) -> JobStore:
    """Return the store, and warn at the end of the command about the damaged records that the store has skipped."""

    def tell() -> None:
        for sentence in store.damage.unreported():
            Console().warn(sentence)

    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(tell)
    return store


def open_client(settings: Settings) -> JobClient:
    """Open the client on the settings' server, for commands that give work to workers. Raises as `open_store` does."""
    from jobs.queue.celery_hints import CeleryHints
    from jobs.submission.job_client import JobClient

    return JobClient(open_store(settings), CeleryHints(settings.redis_url))
