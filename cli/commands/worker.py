"""`qwen-batch worker`"""

from __future__ import annotations

import click

from cli.console.console import Console
from cli.options.options import pass_console, redis_url_option, settings_with, verbosity_options
from cli.options.worker_options import worker_options
from cli.worker_health import check_health


@click.command(name="worker")
@worker_options
@click.option(
    "--drain",
    is_flag=True,
    default=None,
    help="When told to stop, finish the shards at hand first, and take no more.  [env: QWEN_BATCH_DRAIN]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much it writes to stderr.  [env: QWEN_BATCH_LOG_LEVEL; default: info]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="How a line of the log looks; json is for collectors.  [env: QWEN_BATCH_LOG_FORMAT; default: text]",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Show Prometheus metrics at http://HOST:PORT/metrics.  [env: QWEN_BATCH_METRICS_PORT; default: nowhere]",
)
@click.option(
    "--health", is_flag=True, help="Start nothing; exit with 0 if a worker of this machine is alive, else with 1."
)
@redis_url_option
@verbosity_options
@pass_console
def command(console: Console, /, *, health: bool, **options: object) -> int:
    """Serve one model on one device until SIGTERM or Ctrl-C.

    Start as many as there are devices, on as many machines as can reach the
    server; each takes work when it has room. A worker that is stopped gives
    its unfinished lines back; one that is killed loses them to the others
    after a few seconds. With --drain a stop takes as long as the shards at
    hand need; a second signal ends it at once.

    \b
    Exit codes: 0 told to stop, 1 crashed while it ran lines, 2 unusable model
    or option, 4 no server, 7 an unexpected error while it loaded the model:
    its traceback is in the log on stderr.

    \b
    Examples:
      qwen-batch worker
      qwen-batch worker --model Qwen/Qwen3-0.6B --device cuda
      qwen-batch worker --model ./my-qwen3 --kv-cache-memory 8GiB \\
          --redis-url redis://:PASSWORD@queue.example:6379/0
    """
    settings = settings_with(**options)
    if health:
        return check_health(settings, console)
    console.detail(f"Loading {settings.model}.")
    from worker.main import run_worker

    exit_code: int = run_worker(settings)
    return exit_code
