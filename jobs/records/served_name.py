"""The name of a model's queue. Client and worker derive it in the same way."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.errors import InvalidInput
from jobs.harmless import unicode_text

_GGUF_ENDING = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$")  # with the number of a part of a model


def served_name(model: str) -> str:
    """Return a model's name on the queue, from the value of `--model`.

    A hub id loses its revision: `Qwen/Qwen3-0.6B@main` becomes `Qwen/Qwen3-0.6B`. A folder becomes the last part of
    its path, and so does a GGUF file, without its ending. `demo` does not change. The path need not exist on this
    machine: a client may give the absolute path of a folder on the worker's machine.

    Raises:
        InvalidInput: The name of the folder or file is not UTF-8.
    """
    if not _is_path(model):
        return model.partition("@")[0]
    path = Path(model).expanduser().absolute()
    name = _GGUF_ENDING.sub("", (path.resolve() if path.name == ".." else path).name) or model
    if unicode_text(name) != name:
        raise InvalidInput(
            f"The name of the model's folder or file, {name}, is not UTF-8.",
            "Name its queue with --served-model-name.",
        )
    return name


def _is_path(model: str) -> bool:
    """Return whether `model` names a folder or a file: it looks like a path, or there is one."""
    if model == "demo":
        return False
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..") or Path(model).exists()
