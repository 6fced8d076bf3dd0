"""The header of a GGUF file: its settings, and where its tensors are.

Files are not trusted. All lengths are compared with the size of the file before anything is read. Source: the
specification of GGUF, version 3 (`docs/gguf.md` of ggml).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jobs.errors import ModelUnusable
from model.checkpoint.gguf.block_types import BLOCK_TYPES, type_name

DAMAGED = "Download the file again."
Value = int | float | bool | str | list[int] | list[float] | list[bool] | list[str]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_AXES = 4
_MAX_TEXT_BYTES = 16 << 20  # a chat template has some 10 KB
_SMALLEST_ENTRY = 13  # bytes of the shortest setting: a length of 8 bytes, no name, a type of 4 bytes and one of value
_ALIGNMENT = "general.alignment"
_USUAL_ALIGNMENT = 32  # bytes
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """A tensor's place in a file."""

    path: Path
    name: str  # in the file
    shape: tuple[int, ...]  # the last axis is contiguous, as in PyTorch
    dtype: str  # ggml's name: F32, Q4_K, ...
    offset: int  # bytes from the start of the file

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, which is the last axis. Only for the types in `BLOCK_TYPES`."""
        block = BLOCK_TYPES[self.dtype]
        return self.shape[-1] // block.values * block.bytes

    @property
    def rows(self) -> int:
        """Number of rows: the product of all axes but the last one."""
        return math.prod(self.shape[:-1])


@dataclass(frozen=True)
class GgufHeader:
    """What a file says of itself."""

    settings: Mapping[str, Value]
    tensors: list[GgufTensor]


def read_header(path: Path) -> GgufHeader:
    """Read the header of a file.

    Raises:
        ModelUnusable: The file is missing, damaged, cut off, or of another version.
    """
    try:
        with path.open("rb") as file:
            return _Header(path, file).read()
    except (OSError, struct.error, UnicodeDecodeError) as error:
        raise ModelUnusable(f"{path} cannot be read: {error}.", DAMAGED) from error


class _Header:
    """Reads a header from front to back."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = path.stat().st_size

    def read(self) -> GgufHeader:
        if self._bytes(len(_MAGIC)) != _MAGIC:
            raise ModelUnusable(f"{self._path} is no GGUF file.", "Name a GGUF file, or the folder of a model.")
        version = self._number("I")
        if version not in _VERSIONS:
            raise ModelUnusable(
                f"{self._path} is a GGUF file of version {version}; versions 2 and 3 are supported.",
                "Use another file of the same model. Files for big-endian machines are not supported.",
            )
        num_tensors, num_settings = self._count(_SMALLEST_ENTRY), self._count(_SMALLEST_ENTRY)
        settings = {self._text(): self._value(self._number("I")) for _ in range(num_settings)}
        entries = [self._tensor() for _ in range(num_tensors)]
        alignment = settings.get(_ALIGNMENT, _USUAL_ALIGNMENT)
        if not isinstance(alignment, int) or not 1 <= alignment <= self._size:
            raise self._damaged(f"{_ALIGNMENT} is {alignment!r:.80}")
        start = -(-self._file.tell() // alignment) * alignment
        return GgufHeader(settings, [self._placed(tensor, start) for tensor in entries])

    def _tensor(self) -> GgufTensor:
        name, axes = self._text(), self._number("I")
        if not 1 <= axes <= _MAX_AXES:
            raise self._damaged(f"the tensor {name:.80} has {axes} axes")
        sizes = [self._number("Q") for _ in range(axes)]  # the contiguous axis first
        return GgufTensor(self._path, name, tuple(reversed(sizes)), type_name(self._number("I")), self._number("Q"))

    def _placed(self, tensor: GgufTensor, start: int) -> GgufTensor:
        """Return the tensor with its offset from the start of the file.

        Raises:
            ModelUnusable: The tensor ends after the end of the file, or its rows are not whole blocks.
        """
        placed = GgufTensor(tensor.path, tensor.name, tensor.shape, tensor.dtype, start + tensor.offset)
        block = BLOCK_TYPES.get(tensor.dtype)
        if block is None:  # the check of all tensors names the type
            return placed
        if tensor.shape[-1] % block.values:
            raise self._damaged(f"rows of {tensor.name:.80} have {tensor.shape[-1]} values of type {tensor.dtype}")
        end = placed.offset + placed.rows * placed.row_bytes
        if end > self._size:
            raise self._damaged(f"{tensor.name:.80} ends at byte {end:,}, and the file has {self._size:,} bytes")
        return placed

    def _value(self, kind: int) -> Value:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            return self._list(self._number("I"))
        if kind not in _NUMBERS:
            raise self._damaged(f"there is no type of settings {kind}")
        value: int | float | bool = struct.unpack("<" + _NUMBERS[kind], self._bytes(struct.calcsize(_NUMBERS[kind])))[0]
        return value

    def _list(self, kind: int) -> Value:
        if kind == _TEXT:
            return [self._text() for _ in range(self._count(8))]
        if kind not in _NUMBERS:
            raise self._damaged(f"a list has elements of the type {kind}")
        size = struct.calcsize(_NUMBERS[kind])
        count = self._count(size)
        return list(struct.unpack(f"<{count}{_NUMBERS[kind]}", self._bytes(count * size)))

    def _number(self, kind: str) -> int:
        number: int = struct.unpack("<" + kind, self._bytes(struct.calcsize("<" + kind)))[0]
        return number

    def _count(self, smallest: int) -> int:
        """Return the next number, which counts entries of at least `smallest` bytes. The rest must have room for it."""
        count, rest = self._number("Q"), self._size - self._file.tell()
        if count * smallest > rest:
            raise self._damaged(f"it announces {count:,} entries in {rest:,} bytes")
        return count

    def _text(self) -> str:
        length = self._count(1)
        if length > _MAX_TEXT_BYTES:
            raise self._damaged(f"a text has {length:,} bytes")
        return self._bytes(length).decode()

    def _bytes(self, length: int) -> bytes:
        found = self._file.read(length)
        if len(found) < length:
            raise self._damaged("it ends in the middle of its header")
        return found

    def _damaged(self, reason: str) -> ModelUnusable:
        return ModelUnusable(f"{self._path} is damaged: {reason}.", DAMAGED)
