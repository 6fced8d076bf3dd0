"""The options of `serve`, and the rule that a service that others can reach needs API keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.options.options import Command, WholeNumber, with_options
from jobs.byte_size import parse_bytes
from jobs.duration import parse_duration
from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url
from jobs.settings import Settings

_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")

keys_file_option = click.option(
    "--keys-file",
    metavar="FILE",
    help="File of API keys, as `keys add` writes it.  [default: `api-keys.json` in the state folder]",
)

# Name of the field of `server.options.Limits`, its default with API keys and without, help.
_LIMITS: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("requests_per_minute", 10_000, None, "Maximum requests per minute and API key."),
    ("requests_at_once", 1_000, None, "Maximum requests at once per API key and HTTP process."),
    ("uploads_per_hour", 1_000, None, "Maximum uploads per hour and API key."),
    ("batches_per_hour", 2_000, None, "Maximum new batches per hour and API key."),
    (
        "tokens_per_minute",
        None,
        None,
        "Maximum tokens per minute and API key: prompts and completions of interactive requests.",
    ),
    ("unfinished_batches", 1_000, 1_000, "Maximum unfinished batches per project."),
    ("waiting_lines", 10_000_000, 10_000_000, "Maximum lines without a result in the unfinished batches of a project."),
    ("interactive_requests", 64, 64, "Maximum interactive requests at once per API key and HTTP process."),
    ("interactive_waiting", 512, 512, "Maximum interactive requests that wait for a worker, per model."),
)
LIMIT_NAMES = tuple(name for name, _, _, _ in _LIMITS)

_OPTIONS = [
    click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        type=WholeNumber(0, 65535),
        metavar="PORT",
        default=8000,
        show_default=True,
        help="Port to listen on. 0 takes any free port.",
    ),
    click.option(
        "--host-name",
        "host_names",
        multiple=True,
        metavar="NAME",
        help="A further host name by which clients may call this server; * allows every name. Repeatable.",
    ),
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Let web pages of this origin use the API, such as https://app.example; * allows every page. Repeatable.",
    ),
    keys_file_option,
    click.option("--no-auth", is_flag=True, help="Serve everybody who can reach the address, without API keys."),
    click.option(
        "--files",
        metavar="FOLDER|URL",
        help="Folder for uploaded files and results, or a place such as s3://BUCKET/PREFIX. All servers of one Redis "
        "database share it.  "
        "[default: `files` in the state folder]",
    ),
    click.option(
        "--processes",
        type=WholeNumber(1, 64),
        metavar="N",
        default=1,
        show_default=True,
        help="Number of HTTP processes.",
    ),
    click.option(
        "--max-file-size", metavar="SIZE", default="512MiB", show_default=True, help="Largest file to upload."
    ),
    click.option(
        "--max-project-size",
        metavar="SIZE",
        default="50GiB",
        show_default=True,
        help="Largest size of all files of one project together.",
    ),
    click.option(
        "--keep-jobs",
        metavar="TIME",
        default="7d",
        show_default=True,
        help="Keep the job of an ended batch in Redis for this time. The files stay for 30 days.",
    ),
]


def _limit_option(name: str, with_keys: int | None, without_keys: int | None, text: str) -> Command:
    shown = "no limit" if with_keys is None else f"{with_keys:,}"
    if with_keys != without_keys:
        shown += " with API keys, else no limit"
    return click.option(
        f"--{name.replace('_', '-')}",
        type=WholeNumber(1),
        metavar="N",
        help=f"{text}  [default: {shown}]",
    )


def serve_options(command: Command) -> Command:
    """Add the options of the service."""
    return with_options(command, [*_OPTIONS, *(_limit_option(*limit) for limit in _LIMITS)])


def keys_file_of(said: str | None, settings: Settings) -> Path:
    """Return the path of the file of API keys."""
    return Path(said).absolute() if said is not None else settings.state_folder() / "api-keys.json"


def options_of(settings: Settings, **said: Any) -> dict[str, Any]:  # noqa: ANN401 - the values of all options
    """Return the fields of `server.options.ServeOptions`.

    Raises:
        InvalidInput: A value is not valid, or the service would serve the network without API keys.
    """
    keys_file = keys_file_of(said["keys_file"], settings)
    has_file = said["keys_file"] is not None or keys_file.exists()
    auth = (has_file or settings.api_key is not None) and not said["no_auth"]
    if not auth and not said["no_auth"] and said["host"] not in _LOCAL_HOSTS:
        raise InvalidInput(
            f"Whoever reaches {said['host']} could use this service, because there are no API keys.",
            "Make a key with `qwen-batch keys add --project NAME`, or say --no-auth.",
        )
    files = str(said["files"] or settings.state_folder() / "files")
    return {
        "files": files if is_url(files) else str(Path(files).absolute()),
        "host": "127.0.0.1" if said["host"] == "localhost" else said["host"],
        "port": said["port"],
        "processes": said["processes"],
        "keys_file": str(keys_file) if has_file and auth else None,
        "auth": auth,
        "host_names": tuple(said["host_names"]),
        "origins": tuple(said["origins"]),
        "keep_jobs_seconds": parse_duration(said["keep_jobs"]),
        "limits": {
            "file_bytes": parse_bytes(said["max_file_size"]),
            "project_bytes": parse_bytes(said["max_project_size"]),
            **_limits_of(said, auth),
        },
    }


def _limits_of(said: Mapping[str, int | None], auth: bool) -> dict[str, int | None]:
    """Return the fields of `server.options.Limits` that have options.

    Args:
        said: Value of each option, or None if it was left out.
        auth: False if the service has no API keys. Then only the limits that were said count, for all requests.
    """
    return {name: said[name] or (with_keys if auth else without) for name, with_keys, without, _ in _LIMITS}
