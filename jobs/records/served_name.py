"""The name of a model's queue. Client and worker derive it in the same way."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import InvalidInput
from jobs.harmless import unicode_text


def served_name(model: str) -> str:
    """Return a model's name on the queue, from the value of `--model`.

    A hub id loses its revision: `Qwen/Qwen3-0.6B@main` becomes `Qwen/Qwen3-0.6B`. A folder becomes the last part of
    its path. `demo` does not change. The folder need not exist on this machine: a client may give the absolute path of
    a folder on the worker's machine.

    Raises:
        InvalidInput: The folder's name is not UTF-8.
    """
    if not _is_folder_name(model):
        return model.partition("@")[0]
    path = Path(model).expanduser().absolute()
    name = (path.resolve() if path.name == ".." else path).name or model
    if unicode_text(name) != name:
        raise InvalidInput(
            f"The name of the model's folder, {name}, is not UTF-8.", "Name its queue with --served-model-name."
        )
    return name


def _is_folder_name(model: str) -> bool:
    """Return whether `model` names a folder: it looks like a path, or there is such a folder."""
    if model == "demo":
        return False
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..") or Path(model).is_dir()
