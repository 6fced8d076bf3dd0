"""The name under which a model's queue is found: the same for the client that submits and the worker that serves."""

from __future__ import annotations

from pathlib import Path


def served_name(model: str) -> str:
    """A model's name on the queue, from what `--model` says.

    A hub id loses its revision (`Qwen/Qwen3-0.6B@main` is `Qwen/Qwen3-0.6B`), a folder is called by its last part, and
    `demo` stays. The folder need not exist here: a client may name one of the worker's machine by its absolute path.
    """
    if not _is_folder_name(model):
        return model.partition("@")[0]
    path = Path(model).expanduser().absolute()
    return (path.resolve() if path.name == ".." else path).name or model


def _is_folder_name(model: str) -> bool:
    """Whether `model` names a folder, not `demo` or a hub id: by how it is written, or because it is there."""
    if model == "demo":
        return False
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..") or Path(model).is_dir()
