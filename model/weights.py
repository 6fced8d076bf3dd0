"""A checkpoint's tensors, read strictly and one at a time: what is missing, surplus, misshapen or damaged is named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open

from jobs.errors import ModelUnusable

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
FLOAT_DTYPES = ("F32", "F16", "BF16")
_NAMES_SHOWN = 5
_FETCH = "Fetch the model anew."


class Checkpoint:
    """The tensors of a folder, by name, memory-mapped: nothing is read before `read`. Close it, or use `with`."""

    def __init__(self, folder: Path) -> None:
        """Opens every file. Raises `ModelUnusable` when there are no weights, or a file is missing or damaged."""
        self.folder = folder
        self._open_files = ExitStack()
        self._files: dict[str, Any] = {}  # file name -> open safetensors file
        self._file_of: dict[str, str] = {}  # tensor name -> file name
        try:
            for name in _weight_files(folder):
                self._open(name)
        except ModelUnusable:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the mapped files back."""
        self._files.clear()
        self._open_files.close()

    def check(self, expected: Mapping[str, tuple[int, ...]], optional: Iterable[str] = ()) -> None:
        """Raises `ModelUnusable` unless exactly the `expected` tensors are there, in these shapes.

        Args:
            expected: Shapes by name.
            optional: Names among them that may be absent.
        """
        self._refuse_names("lack", [n for n in expected if n not in self._file_of and n not in set(optional)])
        self._refuse_names("hold unknown", [n for n in self._file_of if n not in expected])
        for name, shape in expected.items():
            if name in self._file_of:
                self._check_tensor(name, shape)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """The tensor `name`, on the CPU, converted to `dtype`."""
        tensor: torch.Tensor = self._files[self._file_of[name]].get_tensor(name)
        return tensor.to(dtype)

    def _open(self, name: str) -> None:
        path = self.folder / name
        try:
            file = self._open_files.enter_context(safe_open(path, framework="pt", device="cpu"))
        except FileNotFoundError:
            raise ModelUnusable(f"{path} is missing, though {INDEX_FILE} names it.", _FETCH) from None
        except (SafetensorError, OSError) as error:
            raise ModelUnusable(f"{path} is damaged or no safetensors file: {error}.", _FETCH) from error
        self._files[name] = file
        for tensor in file.keys():  # noqa: SIM118 — an open safetensors file is no mapping
            if tensor in self._file_of:
                raise ModelUnusable(f"{path} repeats the tensor {tensor} of {self._file_of[tensor]}.", _FETCH)
            self._file_of[tensor] = name

    def _refuse_names(self, verb: str, names: list[str]) -> None:
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
            plural = "s" if len(names) > 1 else ""
            raise ModelUnusable(f"The weights in {self.folder} {verb} {len(names)} tensor{plural}: {shown}.", _FETCH)

    def _check_tensor(self, name: str, shape: tuple[int, ...]) -> None:
        view = self._files[self._file_of[name]].get_slice(name)
        if tuple(view.get_shape()) != shape:
            raise ModelUnusable(
                f"{name} in {self.folder} has the shape {list(view.get_shape())}; config.json makes it {list(shape)}.",
                _FETCH,
            )
        if view.get_dtype() not in FLOAT_DTYPES:
            raise ModelUnusable(
                f"{name} in {self.folder} holds {view.get_dtype()}, which is not supported; it must be one of "
                f"{', '.join(FLOAT_DTYPES)}."
            )


def _weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files of `folder`. One single file goes before an index, as in transformers."""
    if (folder / SINGLE_FILE).is_file():
        return [SINGLE_FILE]
    index = folder / INDEX_FILE
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
    except FileNotFoundError:
        raise ModelUnusable(
            f"There are no weights in {folder}: neither {SINGLE_FILE} nor {INDEX_FILE}.",
            "Name the folder that holds the model's files; only safetensors are read.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnusable(f"{index} cannot be read: {error!r}.", _FETCH) from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelUnusable(f"{index} names the file {name!r}, which is not one of its folder.", _FETCH)
    return names
