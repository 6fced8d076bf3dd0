"""Write an upload to the file store in large pieces, in a thread."""

from __future__ import annotations

from jobs.uploads.file_store import FileWriter
from server.in_threads import InThreads
from server.upload.first_line import FirstLine

PIECE_BYTES = 2**19  # written together; one upload needs about twice this memory


class KeptFile:
    """Takes the bytes of one upload.

    Args:
        writer: Writer of the file store.
        threads: Where the writer runs, because it blocks.
    """

    def __init__(self, writer: FileWriter, threads: InThreads) -> None:
        self._writer = writer
        self._threads = threads
        self._first_line = FirstLine()
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes in `_pieces`

    async def keep(self, piece: bytes) -> None:
        """Take the next bytes. Raises `ApiError` if the file can be no file of a batch."""
        self._first_line.watch(piece)
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= PIECE_BYTES:
            await self._flush()

    async def end(self) -> None:
        """Write the last bytes. Raises `ApiError` if the file is empty."""
        self._first_line.end()
        await self._flush()

    async def _flush(self) -> None:
        pieces, self._pieces, self._waiting = b"".join(self._pieces), [], 0
        await self._threads.run(self._writer.write, pieces)
