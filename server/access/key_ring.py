"""The API keys that are valid now."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jobs.errors import InvalidInput
from server.access.caller import DEFAULT_PROJECT, RIGHTS, Caller
from server.access.key_file import KeyFile, hash_of, read_key_file
from server.options import Limits


class KeyRing:
    """The keys of a file and the key of the environment. It reads the file again when the file has changed.

    A file that becomes unreadable while the service runs changes nothing: the keys that were read last stay valid.

    Args:
        file: The file of keys. None if there is no such file.
        single_key: The key of the environment, which has every right in the project `default`. None if there is none.
        clock: Returns seconds since the epoch.

    Raises:
        InvalidInput: The file cannot be read.
    """

    def __init__(self, file: Path | None, single_key: str | None, clock: Callable[[], float]) -> None:
        self._file = file
        self._single = hash_of(single_key) if single_key is not None else None
        self._clock = clock
        self._version = _version_of(file)
        self._read(file)

    def caller(self, key: str) -> Caller | None:
        """Return who has this key. Returns None if the key is unknown, revoked or expired."""
        return self.caller_with_hash(hash_of(key))

    def caller_with_hash(self, digest: str) -> Caller | None:
        """Return who has the key of this hash, as `caller` does. A session remembers the hash of its key."""
        self._read_again()
        if self._single is not None and hmac.compare_digest(digest, self._single):
            return Caller(DEFAULT_PROJECT, "key_environment", frozenset(RIGHTS))
        found = self._keys.get(digest)  # a hash tells nothing about the key, so a dictionary may find it
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock()):
            return None
        return Caller(found.project, found.id, frozenset(found.rights))

    def limits_of(self, project: str, limits: Limits) -> Limits:
        """Return the limits of a project. `limits` are those of projects for which the file says nothing."""
        own = self._limits.get(project)
        return limits if own is None else own.over(limits)

    def _read_again(self) -> None:
        version = _version_of(self._file)
        if version != self._version:
            self._version = version
            with suppress(InvalidInput):
                self._read(self._file)

    def _read(self, file: Path | None) -> None:
        content = KeyFile() if file is None else read_key_file(file)
        self._keys = {key.sha256: key for key in content.keys}
        self._limits = content.limits


def _version_of(file: Path | None) -> tuple[int, int, int] | None:
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
