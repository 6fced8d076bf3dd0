"""Strict reading of a checkpoint's tensors, one at a time.

Errors name the tensors that are missing, unknown or damaged, or that have a wrong shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from jobs.errors import ModelUnusable
from model.checkpoint.checkpoint_files import INDEX_FILE, weight_files

FLOAT_DTYPES = ("F32", "F16", "BF16")
_TRUNK = "model."  # prefix of all tensors but the output layer
_FIRST_OF_TRUNK = "embed_tokens.weight"
_NAMES_SHOWN = 5
_FETCH = "Download the model again."


class TensorInfo(NamedTuple):
    """A tensor's entry in a file's header."""

    path: Path
    name: str  # in the file
    shape: tuple[int, ...]
    dtype: str  # safetensors' name: F32, BF16, ...


class Checkpoint:
    """The tensors of a folder, by name. The constructor reads the headers, `read_into` the values of a tensor.

    The names are those of a whole language model. The checkpoint of an embedding model may hold only the part under
    `model.`, and leave this prefix out.
    """

    def __init__(self, folder: Path) -> None:
        """Read the headers. Raises `ModelUnusable` if there are no weights, or if a file is missing or damaged."""
        self.folder = folder
        self._tensors: dict[str, TensorInfo] = {}
        for name in weight_files(folder):
            self._read_header(folder / name)
        if _FIRST_OF_TRUNK in self._tensors:
            self._tensors = {_TRUNK + name: tensor for name, tensor in self._tensors.items()}

    def check(self, expected: Mapping[str, tuple[int, ...]], optional: Iterable[str] = ()) -> None:
        """Raise `ModelUnusable` unless the checkpoint has exactly the `expected` tensors, in these shapes.

        Args:
            expected: Shapes by name.
            optional: Names in `expected` that may be missing.
        """
        self._refuse_names("lack", [n for n in expected if n not in self._tensors and n not in set(optional)])
        self._refuse_names("hold unknown", [n for n in self._tensors if n not in expected])
        for name, tensor in self._tensors.items():
            self._check_tensor(name, tensor, expected[name])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor `name`."""
        return self._tensors[name].shape

    def read_into(self, name: str, target: torch.Tensor) -> None:
        """Copy the tensor `name` to `target`, which has the same shape. Converts to the dtype and device of `target`.

        The file is mapped only during this call. Otherwise the mapped pages would count as the process's memory, in
        addition to the weights made from them.
        """
        tensor = self._tensors[name]
        with safe_open(tensor.path, framework="pt", device="cpu") as file:
            target.copy_(file.get_tensor(tensor.name))

    def _read_header(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                views = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 — no mapping
        except FileNotFoundError:
            raise ModelUnusable(f"{path} is missing, though {INDEX_FILE} names it.", _FETCH) from None
        except (SafetensorError, OSError) as error:
            raise ModelUnusable(f"{path} is damaged or not a safetensors file: {error}.", _FETCH) from error
        for name, view in views.items():
            if name in self._tensors:
                raise ModelUnusable(f"{path} repeats the tensor {name} of {self._tensors[name].path}.", _FETCH)
            self._tensors[name] = TensorInfo(path, name, tuple(view.get_shape()), view.get_dtype())

    def _refuse_names(self, verb: str, names: list[str]) -> None:
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
            plural = "s" if len(names) > 1 else ""
            raise ModelUnusable(f"The weights in {self.folder} {verb} {len(names)} tensor{plural}: {shown}.", _FETCH)

    def _check_tensor(self, name: str, tensor: TensorInfo, shape: tuple[int, ...]) -> None:
        if tensor.shape != shape:
            raise ModelUnusable(
                f"{name} in {self.folder} has the shape {list(tensor.shape)}; config.json makes it {list(shape)}.",
                _FETCH,
            )
        if tensor.dtype not in FLOAT_DTYPES:
            raise ModelUnusable(
                f"{name} in {self.folder} holds {tensor.dtype}, which is not supported; it must be one of "
                f"{', '.join(FLOAT_DTYPES)}.",
                "Use another checkpoint of the same model.",
            )
