"""Keep the prompts that a check has made, so that the second pass does not make them again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from jobs.errors import InvalidInput, RecordDamaged
from jobs.records.prompt import Prompt
from jobs.stores.packing import PackedPrompts, encode_prompt, join_prompts, unpack_prompts
from jobs.submission.sharding import MAX_SHARD_SIZE

_BLOCK_LINES = MAX_SHARD_SIZE  # as many as a shard of a huge job has
_BLOCK_BYTES = 2**23  # of JSON, before compression; a block of long lines has fewer lines
_MAX_BYTES = 4 * 2**30


class PromptSpool:
    """Prompts in an unnamed temporary file, in compressed blocks. The file vanishes with the process, even if killed.

    A block is encoded like a shard in the store. So the shards of a huge job are copied from the file unchanged.

    The file takes at most half of the disk's free space. If there is no room, the spool drops all prompts: they can be
    made again.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._room = 0  # bytes that the file may still take
        self._blocks: list[tuple[int, int]] = []  # number of lines and compressed bytes of each block
        self._lines: list[bytes] = []  # the encoded last prompts
        self._size = 0  # bytes of these
        with suppress(OSError):
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` removes it
            self._room = min(_MAX_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2)

    def add(self, prompt: Prompt) -> None:
        """Add the next prompt."""
        if self._file is None:
            return
        encoded = encode_prompt(prompt)
        self._lines.append(encoded)
        self._size += len(encoded)
        if len(self._lines) == _BLOCK_LINES or self._size >= _BLOCK_BYTES:
            self._write()

    def finish(self) -> bool:
        """Return whether the spool holds all prompts. No prompt can be added any more."""
        self._write()
        return self._file is not None

    def prompts(self) -> Iterator[Prompt]:
        """Iterate over the prompts, in order. Raises `InvalidInput` if the temporary file cannot be read."""
        for block in self._read():
            try:
                prompts = unpack_prompts(block.value, "")
            except RecordDamaged as error:
                raise _unreadable(error.__cause__ or error) from error
            yield from prompts

    def packed(self, num_lines: int) -> Iterator[PackedPrompts] | None:
        """Return the prompts in shards of `num_lines` lines; the last shard may have fewer.

        Returns None if the blocks have other sizes. The iterator raises `InvalidInput` like `prompts`.
        """
        sizes = [lines for lines, _ in self._blocks]
        fits = all(size == num_lines for size in sizes[:-1]) and all(size <= num_lines for size in sizes[-1:])
        return self._read() if fits else None

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> Iterator[PackedPrompts]:
        """Iterate over the blocks. Raises `InvalidInput` if the temporary file cannot be read."""
        assert self._file is not None
        offset = 0
        for num_lines, length in self._blocks:
            try:
                value = os.pread(self._file.fileno(), length, offset)
            except OSError as error:
                raise _unreadable(error) from error
            yield PackedPrompts(num_lines, value)
            offset += length

    def _write(self) -> None:
        """Write the last prompts as one block. Drops everything if there is no room."""
        if self._file is None or not self._lines:
            return
        block = join_prompts(self._lines)
        self._lines, self._size = [], 0
        self._room -= len(block.value)
        with suppress(OSError):
            if self._room >= 0 and self._file.write(block.value) == len(block.value):
                self._blocks.append((block.num_lines, len(block.value)))
                return
        self.close()


def _unreadable(error: BaseException) -> InvalidInput:
    return InvalidInput(
        f"The temporary file of checked prompts cannot be read: {error}.", "Set TMPDIR to a folder on another disk."
    )
