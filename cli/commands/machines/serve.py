"""The command `qwen-batch serve`."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec

import click
from msgspec.structs import replace

from cli.console.console import Console
from cli.options.options import console_options, redis_url_option, settings_with
from cli.options.serve_options import LIMIT_NAMES, options_of, serve_options
from cli.options.worker_options import require_worker_packages, worker_options
from jobs.errors import InvalidInput
from jobs.exit_codes import ExitCode
from jobs.records.served_name import served_name
from jobs.settings import Settings

_PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "multipart")
_OF_SERVICE = (
    "host",
    "port",
    "host_names",
    "keys_file",
    "no_auth",
    "files",
    "processes",
    "max_file_size",
    "max_project_size",
    "keep_jobs",
    "origins",
    *LIMIT_NAMES,
)


@click.command(name="serve")
@serve_options
@click.option(
    "--with-worker",
    is_flag=True,
    help="Start a worker, too, and a private Redis server unless one is named. The options below are the worker's.",
)
@worker_options
@redis_url_option
@console_options
def command(console: Console, /, *, with_worker: bool, **options: object) -> ExitCode:
    """Serve files, batches and chats over HTTP, for OpenAI's clients.

    An unmodified client works with base_url=http://HOST:PORT/v1. Batches wait in
    the Redis server for workers, so start at least one worker of the model.

    \b
    Examples:
      qwen-batch serve --with-worker
      qwen-batch serve --with-worker --model Qwen/Qwen3-0.6B
      qwen-batch serve --host 0.0.0.0 --host-name batch.example
      curl http://127.0.0.1:8000/v1/models
    """
    _require_packages()
    from server.main import Service
    from server.options import as_options

    of_service = {name: options.pop(name) for name in _OF_SERVICE}
    settings = settings_with(**options)
    wanted = as_options(options_of(settings, **of_service))
    with ExitStack() as own:
        check = None
        if with_worker:
            require_worker_packages()
            wanted = replace(wanted, own_model=settings.served_model_name or served_name(settings.model))
            from cli.run.own_backend import own_backend

            embedded = options["redis_url"] is None and not Settings.server_is_named()
            settings, check = own.enter_context(own_backend(settings, embedded, console))
        Service(settings, wanted).run(lambda address: _greet(address, settings, with_worker, console), check)
    return ExitCode.DONE


def _greet(address: str, settings: Settings, with_worker: bool, console: Console) -> None:
    console.say(f"Serving {address}/v1 for clients, and {address}/ for browsers. Stop with Ctrl-C.")
    if with_worker:
        console.say(f"The worker is loading {settings.model}. {address}/fleet shows when it is ready.")


def _require_packages() -> None:
    """Raise `InvalidInput` unless this installation can serve HTTP. The check imports none of the packages."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"This installation cannot serve HTTP. It lacks these packages: {', '.join(missing)}.",
            "Install them with `pip install 'qwen-batch[server]'`.",
        )
