"""The name under which a model's queue is found: the same for the client that submits and the worker that serves."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import InvalidInput
from jobs.harmless import unicode_text


def served_name(model: str) -> str:
    """A model's name on the queue, from what `--model` says.

    A hub id loses its revision (`Qwen/Qwen3-0.6B@main` is `Qwen/Qwen3-0.6B`), a folder is called by its last part, and
    `demo` stays. The folder need not exist here: a client may name one of the worker's machine by its absolute path.

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
    """Whether `model` names a folder, not `demo` or a hub id: by how it is written, or because it is there."""
    if model == "demo":
        return False
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..") or Path(model).is_dir()
