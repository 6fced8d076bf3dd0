"""Strict reading of a checkpoint's tensors, one at a time.

Errors name the tensors that are missing, unknown or damaged, or that have a wrong shape. Quantised weights are decoded
(`model.checkpoint.quantised`, and `model.checkpoint.gguf` for GGUF files).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from jobs.errors import ModelUnusable
from model.checkpoint.checkpoint_files import GGUF, INDEX_FILE, weight_files
from model.checkpoint.gguf.block_types import BLOCK_TYPES
from model.checkpoint.gguf.header import GgufTensor
from model.checkpoint.gguf.weights import read_four_bits, read_into, weights_of
from model.checkpoint.quantised.product import FLOATS, DamagedTensor, Part, StoredProduct
from model.checkpoint.quantised.readers import UNUSED, Stored, stored_product
from model.checkpoint.quantised.settings import WeightFormat
from model.ops.int4 import GROUP, Groups

_TRUNK = "model."  # prefix of all tensors but the output layer
_FIRST_OF_TRUNK = "embed_tokens.weight"
_NAMES_SHOWN = 5
# A file is mapped anew after so many bytes: mapped pages count as the process's memory, in addition to the weights made
# of them. It is not mapped anew for each tensor: reading a header of thousands of tensors takes milliseconds.
_MAPPED_BYTES = 8 << 20
_FETCH = "Download the model again."


class TensorInfo(NamedTuple):
    """A tensor's entry in a file's header."""

    path: Path
    name: str  # in the file
    shape: tuple[int, ...]
    dtype: str  # safetensors' name: F32, BF16, ...


class _MappedFile:
    """A file of weights that is mapped into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._file = safe_open(path, framework="pt", device="cpu")

    def tensor(self, name: str) -> torch.Tensor:
        mapped: torch.Tensor = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        self.bytes_read += mapped.nbytes
        return mapped


class Checkpoint:
    """The tensors of a folder, by name. The constructor reads the headers, `read_into` the values of a tensor.

    The names are those of a whole language model. The checkpoint of an embedding model may hold only the part under
    `model.`, and leave this prefix out.

    Args:
        folder: The checkpoint.
        format: Kind of the weights that are quantised, from `config.json`.
    """

    def __init__(self, folder: Path, format: WeightFormat = "plain") -> None:
        """Read the headers. Raises `ModelUnusable` if there are no weights, or if a file is missing or damaged."""
        self._source = folder  # for messages: a GGUF file, or else the folder
        self._format: WeightFormat = format
        self._tensors: dict[str, TensorInfo | GgufTensor] = {}
        self._mapped_file: _MappedFile | None = None
        self._products: dict[str, StoredProduct] = {}  # the quantised weights, by the names that plain ones have
        for path in (folder / name for name in weight_files(folder)):
            self._source = path.readlink() if path.is_symlink() and path.suffix == GGUF else folder
            for weight, tensor in weights_of(path) if path.suffix == GGUF else _header(path):
                self._add(weight, tensor)
        if _FIRST_OF_TRUNK in self._tensors:
            self._tensors = {_TRUNK + name: tensor for name, tensor in self._tensors.items()}

    def check(self, expected: Mapping[str, tuple[int, ...]], optional: Iterable[str] = ()) -> None:
        """Raise `ModelUnusable` unless the checkpoint has exactly the `expected` tensors, in these shapes.

        A weight may be quantised. Then the checkpoint must have the tensors that its reader needs.

        Args:
            expected: Shapes by name.
            optional: Names in `expected` that may be missing.
        """
        self._products = self._find_products(expected)
        parts = {name: Part(shape, FLOATS) for name, shape in expected.items() if name not in self._products}
        for name, product in self._products.items():
            parts |= {_sibling(name, suffix): part for suffix, part in product.parts().items()}
        unused = UNUSED if self._products else ()
        known = [name for name in self._tensors if name in parts or name.rpartition(".")[2] not in unused]
        self._refuse_names("lack", [n for n in parts if n not in self._tensors and n not in set(optional)])
        self._refuse_names("hold unknown", [n for n in known if n not in parts])
        for name in known:
            self._check_tensor(name, self._tensors[name], parts[name])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the weight `name`."""
        product = self._products.get(name)
        return self._tensors[name].shape if product is None else (product.rows, product.columns)

    def read_into(self, name: str, target: torch.Tensor) -> None:
        """Copy the weight `name` to `target` of the same shape. Converts to the dtype and device of `target`.

        Raises `ModelUnusable` if a quantised weight cannot be decoded.
        """
        product, tensor = self._products.get(name), self._tensors.get(name)
        if isinstance(tensor, GgufTensor):
            read_into(tensor, target)
            return
        if product is None:
            target.copy_(self._mapped(name))
            return
        tensors = {part: self._mapped(_sibling(name, part)) for part in product.parts()}
        decoded = target if target.device.type == "cpu" else torch.empty(target.shape, dtype=target.dtype)
        with self._damage_named(name):
            product.decode(tensors, decoded)
        if decoded is not target:
            target.copy_(decoded)

    def four_bits(self, name: str) -> Groups | None:
        """Return the codes of the weight `name` in groups of 32, or None if it has not 4 bits in such groups.

        Raises `ModelUnusable` if a tensor is damaged.
        """
        product, tensor = self._products.get(name), self._tensors.get(name)
        if isinstance(tensor, GgufTensor):
            return read_four_bits(tensor)
        if product is None or product.columns % GROUP:
            return None
        with self._damage_named(name):
            return product.four_bits({part: self._mapped(_sibling(name, part)) for part in product.parts()})

    def close(self) -> None:
        """Close the file that was read last."""
        self._mapped_file = None

    def _mapped(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        file = self._mapped_file
        if file is None or file.path != tensor.path or file.bytes_read > _MAPPED_BYTES:
            self._mapped_file = None  # its pages are gone before those of the next one come
            file = self._mapped_file = _MappedFile(tensor.path)
        return file.tensor(tensor.name)

    @contextmanager
    def _damage_named(self, name: str) -> Iterator[None]:
        """Turn damage that is found while the weight `name` is read into a `ModelUnusable`."""
        try:
            yield
        except DamagedTensor as damage:
            raise ModelUnusable(
                f"{_sibling(name, damage.part)} in {self._source} is damaged: {damage.reason}.", _FETCH
            ) from damage

    def _find_products(self, expected: Mapping[str, tuple[int, ...]]) -> dict[str, StoredProduct]:
        if self._format == "plain":
            return {}
        modules: defaultdict[str, dict[str, Stored]] = defaultdict(dict)
        for name, tensor in self._tensors.items():
            module, _, part = name.rpartition(".")
            modules[module][part] = Stored(tensor.shape, tensor.dtype)
        products = {
            name: stored_product(self._format, shape, modules.get(name.rpartition(".")[0], {}))
            for name, shape in expected.items()
            if len(shape) == 2
        }
        return {name: product for name, product in products.items() if product is not None}

    def _add(self, name: str, tensor: TensorInfo | GgufTensor) -> None:
        if name in self._tensors:
            raise ModelUnusable(f"{tensor.path} repeats the tensor {name} of {self._tensors[name].path}.", _FETCH)
        self._tensors[name] = tensor

    def _refuse_names(self, verb: str, names: list[str]) -> None:
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
            plural = "s" if len(names) > 1 else ""
            raise ModelUnusable(f"The weights in {self._source} {verb} {len(names)} tensor{plural}: {shown}.", _FETCH)

    def _check_tensor(self, name: str, tensor: TensorInfo | GgufTensor, part: Part) -> None:
        if tensor.shape != part.shape:
            raise ModelUnusable(
                f"{name} in {self._source} has the shape {list(tensor.shape)}; config.json makes it "
                f"{list(part.shape)}.",
                _FETCH,
            )
        dtypes = tuple(BLOCK_TYPES) if isinstance(tensor, GgufTensor) else part.dtypes
        if tensor.dtype not in dtypes:
            raise ModelUnusable(
                f"{name} in {self._source} holds {tensor.dtype}, which is not supported; it must be one of "
                f"{', '.join(dtypes)}.",
                "Use another checkpoint of the same model.",
            )


def _header(path: Path) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the tensors in a safetensors file."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            views = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 — no mapping
    except FileNotFoundError:
        raise ModelUnusable(f"{path} is missing, though {INDEX_FILE} names it.", _FETCH) from None
    except (SafetensorError, OSError) as error:
        raise ModelUnusable(f"{path} is damaged or not a safetensors file: {error}.", _FETCH) from error
    for name, view in views.items():
        yield name, TensorInfo(path, name, tuple(view.get_shape()), view.get_dtype())


def _sibling(name: str, part: str) -> str:
    """Return the name of another tensor of the same module."""
    return f"{name.rpartition('.')[0]}.{part}"
