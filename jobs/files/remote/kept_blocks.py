"""Read remote files by ranges, and fetch each range once: what has come is kept in a temporary file."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import IO, Self, cast

BLOCK_BYTES = 8 * 2**20
MAX_KEPT_BYTES = 4 * 2**30


class KeptSpace:
    """An unnamed temporary file for what has come of all remote files of a job. It is made when the first one comes.

    It holds at most `max_bytes`, and at most half of the disk's free space. With 0 bytes there is no file. It is a
    context manager: the end of the `with` block removes the file.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None
        self._free = 0  # bytes that nobody has reserved
        self._end = 0  # offset after the reserved bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def reserve(self, size: int) -> tuple[int, int]:
        """Return the offset of a place for a file, and the number of its first bytes that the place can hold."""
        if self._file is None and self._max_bytes > 0:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            self._free = min(self._max_bytes, shutil.disk_usage(tempfile.gettempdir()).free // 2)
        offset, room = self._end, min(size, self._free)
        self._end += room
        self._free -= room
        return offset, room

    def write(self, offset: int, data: bytes) -> bool:
        """Write at an offset. Returns False if the disk is full."""
        assert self._file is not None
        with suppress(OSError):
            return os.pwrite(self._file.fileno(), data, offset) == len(data)
        return False

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes that were written."""
        assert self._file is not None
        return os.pread(self._file.fileno(), count, offset)


class KeptBlocks:
    """The bytes of a remote file, in blocks of `BLOCK_BYTES`.

    A prompt file is read at least twice. Blocks that have come stay in the space, so the second pass needs no network.
    Blocks for which the space has no room are fetched in each pass.

    Args:
        size: Number of bytes of the file.
        fetch: Returns the bytes from `start` up to `stop`.
        space: Keeps blocks.
        first: The first block, if it has come already.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes], space: KeptSpace, first: bytes = b"") -> None:
        self.size = size
        self._fetch = fetch
        self._space = space
        self._offset, self._room = space.reserve(size)
        self._lock = Lock()  # pyarrow reads from threads of its own
        self.num_fetched = 0
        self._kept: set[int] = set()
        self._loose: tuple[int, bytes] | None = None  # the last block, if the space does not keep it
        if first:
            self._keep(0, first)

    def read(self, start: int, count: int) -> bytes:
        """Return bytes from one block: at least one, and at most `count`. Empty at the end of the file."""
        if start >= self.size or count <= 0:
            return b""
        index, offset = divmod(start, BLOCK_BYTES)
        with self._lock:
            if index in self._kept:
                length = min(count, BLOCK_BYTES - offset, self.size - start)
                return self._space.read(self._offset + start, length)
            if self._loose is not None and self._loose[0] == index:
                return self._loose[1][offset : offset + count]
            first = index * BLOCK_BYTES
            block = self._fetch(first, min(first + BLOCK_BYTES, self.size))
            self.num_fetched += 1
            self._keep(index, block)
            return block[offset : offset + count]

    def release(self) -> None:
        """Free the memory of a block that is not kept."""
        with self._lock:
            self._loose = None

    def _keep(self, index: int, block: bytes) -> None:
        start = index * BLOCK_BYTES
        if start + len(block) <= self._room and self._space.write(self._offset + start, block):
            self._kept.add(index)
            self._loose = None
        else:
            self._loose = index, block


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

    def close(self) -> None:
        """Close the stream."""
        self._blocks.release()
        super().close()
