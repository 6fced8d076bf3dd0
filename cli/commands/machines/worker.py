"""The command `qwen-batch worker`."""

from __future__ import annotations

import socket

import click

from cli.console.console import Console
from cli.options.options import RealNumber, WholeNumber, console_options, redis_url_option, settings_with
from cli.options.worker_options import worker_options
from cli.store import open_store
from jobs.exit_codes import ExitCode
from jobs.records.served_name import served_name
from jobs.settings import Settings


@click.command(name="worker")
@worker_options
@click.option(
    "--drain",
    is_flag=True,
    default=None,
    help="On a stop signal, finish the current shards and take no new ones.  [env: QWEN_BATCH_DRAIN]",
)
@click.option(
    "--online/--no-online",
    default=None,
    help="Serve interactive requests of `qwen-batch serve` too, or lines of batches only.  "
    "[env: QWEN_BATCH_ONLINE; default: online]",
)
@click.option(
    "--online-share",
    type=RealNumber(0, 1, min_open=True),
    metavar="SHARE",
    help="Maximum share of a batch that interactive requests take.  [env: QWEN_BATCH_ONLINE_SHARE; default: 0.75]",
)
@click.option(
    "--stream-interval",
    type=RealNumber(0, 10, min_open=True),
    metavar="SECONDS",
    help="Minimum time between two messages with streamed text.  [env: QWEN_BATCH_STREAM_INTERVAL; default: 0.02]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Lowest level of messages in the log on stderr.  [env: QWEN_BATCH_LOG_LEVEL; default: info]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Format of the log. json is for log collectors.  [env: QWEN_BATCH_LOG_FORMAT; default: text]",
)
@click.option(
    "--metrics-port",
    type=WholeNumber(1, 65535),
    metavar="PORT",
    help="Serve Prometheus metrics at http://HOST:PORT/metrics.  [env: QWEN_BATCH_METRICS_PORT; default: no metrics]",
)
@click.option(
    "--health",
    is_flag=True,
    help="Do not start a worker. Exit with 0 if this machine has a live worker of the model, else with 1.",
)
@redis_url_option
@console_options
def command(console: Console, /, *, health: bool, **options: object) -> int:
    """Serve one model on one device until SIGTERM or Ctrl-C.

    Start one worker per device, on all machines that can reach the server. A
    worker takes work whenever it has room. A stopped worker gives its
    unfinished lines back at once. When a worker is killed, other workers take
    over its lines after a few seconds. With --drain, a worker first finishes
    its current shards; a second signal stops it at once.

    \b
    Exit codes: 0 stopped by a signal, 1 crashed while running lines,
    2 unusable model or option, 4 no server, 6 damaged store, 7 unexpected
    error while loading the model (the log on stderr has the traceback).

    \b
    Examples:
      qwen-batch worker
      qwen-batch worker --model Qwen/Qwen3-0.6B --device cuda
      qwen-batch worker --model ./my-qwen3 --kv-cache-memory 8GiB \\
          --redis-url redis://:PASSWORD@queue.example:6379/0
    """
    settings = settings_with(**options)
    if health:
        return _check_health(settings, console)
    console.detail(f"Loading {settings.model}.")
    from worker.main import run_worker

    exit_code: int = run_worker(settings)
    return exit_code


def _check_health(settings: Settings, console: Console) -> ExitCode:
    """Print this machine's live workers of the settings' model. A loading or busy worker is healthy.

    Workers report twice per second. A worker is dead after 2 s without a report, or 5 s while it loads.

    Raises:
        StoreUnavailable: The store does not answer, so the health is unknown.
    """
    model, host = settings.served_model_name or served_name(settings.model), socket.gethostname()
    alive = [worker for worker in open_store(settings).fleet.workers() if (worker.model, worker.host) == (model, host)]
    for worker in alive:
        console.data(f"{worker.worker_id} {worker.state}")
    if not alive:
        console.say(f"No worker on {host} that serves {model} is alive.")
        return ExitCode.FAILED
    return ExitCode.DONE
