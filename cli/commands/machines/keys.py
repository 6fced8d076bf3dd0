"""The command `qwen-batch keys`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from cli.console.console import Console
from cli.options.options import console_options, settings_with
from cli.options.serve_options import keys_file_of, keys_file_option
from jobs.duration import parse_duration
from jobs.exit_codes import ExitCode

_RIGHTS = ("batch", "online", "admin")


@click.command(name="keys")
@click.argument("action", type=click.Choice(["add", "list", "remove"]))
@click.argument("key_id", metavar="[KEY_ID]", required=False)
@click.option(
    "--project",
    metavar="NAME",
    default="default",
    show_default=True,
    help="Project of the new key. It owns the files and batches that come with the key.",
)
@click.option(
    "--rights",
    metavar="LIST",
    default="batch,online",
    show_default=True,
    help="Rights of the new key, separated by commas: batch (files and batches), online (interactive requests), "
    "admin (metrics, and jobs of the command line).",
)
@click.option("--expires", metavar="TIME", help="Lifetime of the new key, such as 90d.  [default: no end]")
@keys_file_option
@console_options
def command(
    console: Console,
    /,
    *,
    action: str,
    key_id: str | None,
    project: str,
    rights: str,
    expires: str | None,
    keys_file: str | None,
) -> ExitCode:
    """Add, list or remove API keys of the HTTP service.

    A new key is printed once. The file holds only hashes of keys. A running
    service reads the file again when it changes.

    \b
    Examples:
      qwen-batch keys add --project research --expires 90d
      qwen-batch keys list
      qwen-batch keys remove key_0a1b2c3d4e5f
    """
    path = keys_file_of(keys_file, settings_with())
    if (action == "remove") != (key_id is not None):
        raise click.UsageError("`keys remove` needs the id of a key; `add` and `list` take none.")
    if action == "add":
        _add(path, project, rights, expires, console)
    elif action == "list":
        _list(path, console)
    elif key_id is not None:
        from server.access.key_file import remove_key

        remove_key(path, key_id)
        console.say(f"Removed {key_id} from {path}.")
    return ExitCode.DONE


def _add(path: Path, project: str, rights: str, expires: str | None, console: Console) -> None:
    from server.access.key_file import add_key

    wanted = tuple(dict.fromkeys(each.strip() for each in rights.split(",") if each.strip()))
    unknown = [each for each in wanted if each not in _RIGHTS]
    if unknown or not wanted:
        raise click.BadParameter(f"{rights!r} must be some of batch, online and admin.", param_hint="--rights")
    key, entry = add_key(path, project, wanted, None if expires is None else parse_duration(expires))
    console.data(key)
    console.say(f"Added {entry.id} of project {project} to {path}. The key is not shown again.")


def _list(path: Path, console: Console) -> None:
    from server.access.key_file import read_key_file

    for key in read_key_file(path).keys:
        ends = "no end"
        if key.expires_at is not None:
            day = time.strftime("%Y-%m-%d", time.gmtime(key.expires_at))
            ends = f"expired {day}" if key.expires_at <= time.time() else f"until {day}"
        console.data(f"{key.id}  {key.project}  {','.join(key.rights)}  {ends}")
