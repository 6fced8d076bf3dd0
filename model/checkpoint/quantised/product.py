"""What a file holds in the place of one weight, and how the weight is made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch

from model.ops.int4 import GROUP, Groups

FLOATS = ("F32", "F16", "BF16")  # safetensors' names of the types of scales, and of weights that are not quantised
WORDS = ("I32",)  # words of 32 bits that hold several values each
ROWS_AT_ONCE = 256  # output features that are decoded at once, to bound the memory for their float32 values

Shape = tuple[int, ...]


class DamagedTensor(Exception):
    """A tensor holds values that are not possible. `part` is the last part of its name."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


class Part(NamedTuple):
    """A tensor that a stored product needs."""

    shape: Shape
    dtypes: tuple[str, ...]  # safetensors' names


@dataclass(frozen=True)
class StoredProduct(ABC):
    """A quantised weight as a file holds it: several tensors, whose names begin with that of the module.

    Attributes:
        rows: Output features of the weight.
        columns: Input features of the weight.
        found: Shapes of the module's tensors in the file, by the last part of their names. They tell details, such as
            the size of a group. `parts` says what the shapes have to be.
    """

    rows: int
    columns: int
    found: Mapping[str, Shape]

    MARK: ClassVar[str]  # the tensor that tells this kind of weight from the others

    @classmethod
    def of(cls, shape: Shape, found: Mapping[str, Shape]) -> Self:
        """Return the stored form of a weight [rows, columns]."""
        rows, columns = shape
        return cls(rows, columns, found)

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """Return what the file must hold, by the last part of the tensors' names."""

    @abstractmethod
    def decode(self, tensors: Mapping[str, torch.Tensor], target: torch.Tensor) -> None:
        """Write the weight into `target` [rows, columns]. Values are computed in float32 and rounded once.

        Args:
            tensors: The tensors of `parts`.
            target: Any floating-point type.

        Raises:
            DamagedTensor: A tensor holds impossible values.
        """

    def four_bits(self, tensors: Mapping[str, torch.Tensor]) -> Groups | None:  # noqa: ARG002 - for the subclasses
        """Return the codes in groups of 32 columns, or None.

        It is None if the codes have not 4 bits, or if 32 does not divide the size of their groups.

        Args:
            tensors: The tensors of `parts`.

        Raises:
            DamagedTensor: A tensor holds impossible values.
        """
        return None

    def in_32s(self, codes: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor) -> Groups | None:
        """Return groups of 32 columns of a weight whose values are `(code - zero) * scale`.

        Args:
            codes: [rows, columns].
            zeros: float32 [rows, groups].
            scales: float32 [rows, groups].
        """
        parts, rest = divmod(self.columns // scales.shape[1], GROUP)
        if rest:
            return None
        each = scales.repeat_interleave(parts, dim=1)
        return Groups(codes, each, each * zeros.repeat_interleave(parts, dim=1))

    def groups(self, shape: Shape | None, axis: int, usual: int = 128) -> int:
        """Return into how many groups the columns are split, by the shape of a tensor with a value for each group.

        A shape that cannot be right gives the number for groups of `usual` columns.
        """
        count = shape[axis] if shape is not None and len(shape) == 2 else 0
        return count if count > 0 and self.columns % count == 0 else -(-self.columns // usual)

    def group_of(self, tensors: Mapping[str, torch.Tensor], name: str, groups: int) -> torch.Tensor:
        """Return the group of each column, int64: what the tensor `name` says, or in order if there is none.

        Raises:
            DamagedTensor: The tensor names groups that do not exist.
        """
        given = tensors.get(name)
        if given is None:
            return torch.arange(self.columns) // (self.columns // groups)
        if int(given.min()) < 0 or int(given.max()) >= groups:
            raise DamagedTensor(name, f"it must hold numbers of {groups} groups, from 0")
        return given.long()


def spans(length: int, step: int) -> Iterator[slice]:
    """Yield slices that cover `length` items, `step` at a time."""
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def unpacked(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the values of `bits` bits in words of 32 bits, from the low bits on: [a, b] gives [a, b * 32 / bits].

    Returns:
        Whole numbers from 0, as int32.
    """
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    values: torch.Tensor = words.unsqueeze(-1) >> shifts & (2**bits - 1)
    return values.flatten(-2)
