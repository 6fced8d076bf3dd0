"""The file of API keys. It holds hashes, so whoever reads it cannot use the keys."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import structs

from jobs.errors import InvalidInput
from jobs.files.writing.output_file import OutputFile
from server.options import Limits

_PREFIX = "sk-qb-"
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_Limit = Annotated[int, msgspec.Meta(ge=1)] | None


class ApiKey(msgspec.Struct, frozen=True):
    """One API key. A slow hash would be of no use, because the keys are random."""

    id: str  # for people: part of logs and of `keys list`
    sha256: str  # hash of the key, hexadecimal
    project: str
    rights: tuple[Literal["batch", "online", "admin"], ...]
    created_at: float  # seconds since the epoch
    expires_at: float | None = None


class ProjectLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits of one project that differ from the options of the service. `Limits` explains the fields."""

    file_bytes: _Limit = None
    project_bytes: _Limit = None
    project_files: _Limit = None
    unfinished_batches: _Limit = None
    waiting_lines: _Limit = None
    requests_per_minute: _Limit = None
    requests_at_once: _Limit = None
    uploads_per_hour: _Limit = None
    batches_per_hour: _Limit = None
    tokens_per_minute: _Limit = None

    def over(self, limits: Limits) -> Limits:
        """Return `limits` with the fields that this project sets."""
        return structs.replace(limits, **msgspec.to_builtins(self))


class KeyFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of a file of API keys. `limits` are of projects, by name; people write them into the file."""

    keys: tuple[ApiKey, ...] = ()
    limits: dict[str, ProjectLimits] = {}


def hash_of(key: str) -> str:
    """Return the hash under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key_file(path: Path) -> KeyFile:
    """Return the content of a file. Raises `InvalidInput` if the file is missing, not readable or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path}.", "Make it with `qwen-batch keys add --project NAME`.") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{path} is no file of API keys: {error}.", "Name the file that `keys add` wrote."
        ) from error


def add_key(path: Path, project: str, rights: tuple[str, ...], lifetime_seconds: float | None) -> tuple[str, ApiKey]:
    """Add a new random key to a file, which is made if it does not exist. Returns the key and its entry.

    Raises:
        InvalidInput: The project's name has another form, or the file is damaged.
        OutputNotWritable: The file cannot be written.
    """
    if _PROJECT.fullmatch(project) is None:
        raise InvalidInput(
            f"{project!r} is no name of a project.",
            "Use 1 to 63 lower-case letters, digits, hyphens and underscores; begin with a letter or a digit.",
        )
    key, now = _PREFIX + secrets.token_urlsafe(32), time.time()
    expires_at = None if lifetime_seconds is None else now + lifetime_seconds
    entry = msgspec.convert(
        {
            "id": f"key_{secrets.token_hex(6)}",
            "sha256": hash_of(key),
            "project": project,
            "rights": rights,
            "created_at": now,
            "expires_at": expires_at,
        },
        ApiKey,
    )
    with _Locked(path):
        content = read_key_file(path) if path.exists() else KeyFile()
        _write(path, structs.replace(content, keys=(*content.keys, entry)))
    return key, entry


def remove_key(path: Path, key_id: str) -> None:
    """Remove a key from a file. Raises `InvalidInput` if the file has no such key."""
    with _Locked(path):
        content = read_key_file(path)
        left = tuple(key for key in content.keys if key.id != key_id)
        if len(left) == len(content.keys):
            raise InvalidInput(f"{path} has no key {key_id!r}.", "List the keys with `qwen-batch keys list`.")
        _write(path, structs.replace(content, keys=left))


def _write(path: Path, content: KeyFile) -> None:
    before = os.umask(0o077)
    try:
        with OutputFile(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    finally:
        os.umask(before)


class _Locked:
    """Holds a lock beside a file while the file is read and written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")

    def __enter__(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidInput(f"{self._path} cannot be written: {error.strerror}.") from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
