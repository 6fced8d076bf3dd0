"""Whether a worker of this machine is alive, for container runtimes and supervisors."""

from __future__ import annotations

import socket

from cli.console.console import Console
from cli.exit_codes import ExitCode
from cli.store import open_store
from jobs.records.served_name import served_name
from jobs.settings import Settings


def check_health(settings: Settings, console: Console) -> ExitCode:
    """Says on stdout which workers of this machine serve the settings' model. One that loads or is busy is healthy.

    Workers report twice a second; one that is silent for two (five while it loads) is not alive.

    Raises:
        StoreUnavailable: The store does not answer, so nothing is known.
    """
    model, host = settings.served_model_name or served_name(settings.model), socket.gethostname()
    alive = [worker for worker in open_store(settings).workers() if (worker.model, worker.host) == (model, host)]
    for worker in alive:
        console.data(f"{worker.worker_id} {worker.state}")
    if not alive:
        console.say(f"No worker on {host} that serves {model} is alive.")
        return ExitCode.UNHEALTHY
    return ExitCode.DONE
