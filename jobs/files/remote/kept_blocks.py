"""Read a remote file by ranges, and fetch each range once: what has come is kept in a temporary file."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import cast

BLOCK_BYTES = 8 * 2**20
MAX_KEPT_BYTES = 4 * 2**30


class KeptBlocks:
    """The bytes of a remote file, in blocks of `BLOCK_BYTES`.

    A prompt file is read at least twice. Blocks that have come stay in an unnamed temporary file, so the second pass
    needs no network. The copy holds at most `MAX_KEPT_BYTES`, and at most half of the disk's free space. Later blocks
    are fetched in each pass.

    Args:
        size: Number of bytes of the file.
        fetch: Returns the bytes from `start` up to `stop`.
        first: The first block, if it has come already.
        max_kept_bytes: Limit of the copy.
    """

    def __init__(
        self,
        size: int,
        fetch: Callable[[int, int], bytes],
        first: bytes = b"",
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self.size = size
        self._fetch = fetch
        self._lock = Lock()  # pyarrow reads from threads of its own
        self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        free = shutil.disk_usage(tempfile.gettempdir()).free
        self._kept_blocks = min(max_kept_bytes, free // 2) // BLOCK_BYTES
        self._in_copy: set[int] = set()
        self._last: tuple[int, bytes] | None = None  # the block that was fetched last
        if first:
            self._keep(0, first)

    def close(self) -> None:
        """Remove the copy."""
        self._copy.close()

    def read(self, start: int, count: int) -> bytes:
        """Return bytes from one block: at least one, and at most `count`. Empty at the end of the file."""
        if start >= self.size or count <= 0:
            return b""
        index, offset = divmod(start, BLOCK_BYTES)
        with self._lock:
            if index in self._in_copy:
                length = min(count, BLOCK_BYTES - offset, self.size - start)
                return os.pread(self._copy.fileno(), length, start)
            if self._last is None or self._last[0] != index:
                first = index * BLOCK_BYTES
                self._keep(index, self._fetch(first, min(first + BLOCK_BYTES, self.size)))
            assert self._last is not None
            return self._last[1][offset : offset + count]

    def _keep(self, index: int, block: bytes) -> None:
        self._last = index, block
        if index >= self._kept_blocks:
            return
        with suppress(OSError):  # on a full disk the block is fetched again when it is needed again
            written = os.pwrite(self._copy.fileno(), block, index * BLOCK_BYTES)
            if written == len(block):
                self._in_copy.add(index)


class RemoteStream(io.RawIOBase):
    """A seekable stream over the blocks of a remote file."""

    def __init__(self, blocks: KeptBlocks) -> None:
        self._blocks = blocks
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset in bytes from the start, the position or the end. Returns the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._blocks.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def readinto(self, buffer: object, /) -> int:
        """Fill the beginning of a buffer. Returns the number of bytes, which is 0 at the end."""
        place = memoryview(cast("bytearray", buffer))
        piece = self._blocks.read(self._position, len(place))
        place[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
