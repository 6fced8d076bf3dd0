"""Keep the prompts that a check has made, so that the second pass does not make them again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import msgspec
import zstandard

from jobs.errors import InvalidInput
from jobs.records.prompt import Prompt

_LEVEL = 1
_BLOCK_BYTES = 2**18  # of JSON, before compression
_MAX_BYTES = 4 * 2**30

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Prompt]).decode


class PromptSpool:
    """Prompts in an unnamed temporary file, compressed. The file vanishes with the process, even if it is killed.

    It takes at most half of the disk's free space. If there is no room, it drops all prompts: they can be made again.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._room = 0  # bytes that the file may still take
        self._lengths: list[int] = []  # of the compressed blocks, in bytes
        self._block: list[bytes] = []  # JSON of the last prompts
        self._size = 0
        with suppress(OSError):
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` removes it
            self._room = min(_MAX_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2)

    def add(self, prompt: Prompt) -> None:
        """Add the next prompt."""
        if self._file is None:
            return
        encoded = _encode(prompt)
        self._block.append(encoded)
        self._size += len(encoded)
        if self._size >= _BLOCK_BYTES:
            self._write()

    def finish(self) -> bool:
        """Return whether the spool holds all prompts. No prompt can be added any more."""
        self._write()
        return self._file is not None

    def prompts(self) -> Iterator[Prompt]:
        """Iterate over the prompts, in order. Raises `InvalidInput` if the temporary file cannot be read."""
        assert self._file is not None
        offset = 0
        for length in self._lengths:
            try:
                block = os.pread(self._file.fileno(), length, offset)
                decoded = _decode(zstandard.ZstdDecompressor().decompress(block))
            except (OSError, zstandard.ZstdError, msgspec.DecodeError) as error:
                raise InvalidInput(
                    f"The temporary file of checked prompts cannot be read: {error}.",
                    "Set TMPDIR to a folder on another disk.",
                ) from error
            yield from decoded
            offset += length

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        """Write the last prompts as one block. Drops everything if there is no room."""
        if self._file is None or not self._block:
            return
        block = zstandard.ZstdCompressor(level=_LEVEL).compress(b"[" + b",".join(self._block) + b"]")
        self._block, self._size = [], 0
        self._room -= len(block)
        with suppress(OSError):
            if self._room >= 0 and self._file.write(block) == len(block):
                self._lengths.append(len(block))
                return
        self.close()
