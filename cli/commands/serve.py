"""The command `qwen-batch serve`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from cli.console.console import Console
from cli.options.options import console_options, redis_url_option, settings_with
from jobs.errors import InvalidInput
from jobs.exit_codes import ExitCode

_PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "multipart")
_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


@click.command(name="serve")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=8000, show_default=True, help="Port; 0 for any."
)
@click.option(
    "--files",
    "folder",
    metavar="FOLDER",
    help="Folder for the bytes of files.  [default: `files` in the state folder]",
)
@redis_url_option
@console_options
def command(console: Console, /, *, host: str, port: int, folder: str | None, redis_url: str | None) -> ExitCode:
    """Serve files and batches over HTTP, for OpenAI's clients.

    An unmodified client works with base_url=http://HOST:PORT/v1. Batches wait in
    the Redis server for workers, so start at least one worker of the model.

    \b
    Examples:
      qwen-batch serve
      curl http://127.0.0.1:8000/v1/models
    """
    _require_packages()
    from server.main import Service
    from server.options import ServeOptions

    settings = settings_with(redis_url=redis_url)
    files = folder or str(settings.state_folder() / "files")
    options = ServeOptions(files=str(Path(files).absolute()), host=host, port=port)

    def say(address: str) -> None:
        console.say(f"Serving {address}/v1. Stop with Ctrl-C.")

    Service(settings, options).run(say)
    return ExitCode.DONE


def _require_packages() -> None:
    """Raise `InvalidInput` unless this installation can serve HTTP. The check imports none of the packages."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"This installation cannot serve HTTP. It lacks these packages: {', '.join(missing)}.",
            "Install them with `pip install 'qwen-batch[server]'`.",
        )
