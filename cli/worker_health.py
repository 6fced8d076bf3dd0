"""Health check of this machine's workers, for container runtimes and supervisors."""

from __future__ import annotations

import socket

from cli.console.console import Console
from cli.exit_codes import ExitCode
from cli.store import open_store
from jobs.records.served_name import served_name
from jobs.settings import Settings


def check_health(settings: Settings, console: Console) -> ExitCode:
    """Print this machine's live workers of the settings' model. A loading or busy worker is healthy.

    Workers report twice per second. A worker is dead after 2 s without a report, or 5 s while it loads.

    Raises:
        StoreUnavailable: The store does not answer, so the health is unknown.
    """
    model, host = settings.served_model_name or served_name(settings.model), socket.gethostname()
    alive = [worker for worker in open_store(settings).workers() if (worker.model, worker.host) == (model, host)]
    for worker in alive:
        console.data(f"{worker.worker_id} {worker.state}")
    if not alive:
        console.say(f"No worker on {host} that serves {model} is alive.")
        return ExitCode.UNHEALTHY
    return ExitCode.DONE
