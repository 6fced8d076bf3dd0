"""Opening the store and the way to send hints, where a command needs them."""

from __future__ import annotations

import click

from cli.console.console import Console
from jobs.queue.hints import HintSender
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

    return _telling_of_damage(connect(settings.redis_url))


def open_store_to_watch(settings: Settings) -> JobStore:
    """The same for a watcher, who wants to know soon that no answer comes, and asks again anyway."""
    from jobs.stores.connect import connect

    return _telling_of_damage(connect(settings.redis_url, reply_timeout_seconds=WATCHER_PATIENCE_SECONDS, retries=0))


def _telling_of_damage(store: JobStore) -> JobStore:
    """At the end of the command that runs, name the damaged records that it skipped."""

    def tell() -> None:
        for sentence in store.damage().news():
            Console().warn(sentence)

    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(tell)
    return store


def open_hints(settings: Settings) -> HintSender:
    """Sends hints through the settings' server. Loads Celery: only for commands that make work."""
    from jobs.queue.celery_hints import CeleryHints

    return CeleryHints(settings.redis_url)
