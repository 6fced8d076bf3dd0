"""A folder in the layout of transformers for each GGUF file, so that all else reads GGUF files like other models.

The folder is in the user's cache. It holds the file's settings and tokenizer as JSON, and links to the file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable
from model.checkpoint.checkpoint_files import GGUF, POOLING_FILE
from model.checkpoint.gguf.header import DAMAGED, GgufHeader, read_header
from model.checkpoint.gguf.settings import GgufSettings
from model.checkpoint.gguf.tokenizer import GgufTokenizer

_LAYOUT = "1"  # change it with the contents of the folder, so that older folders are not used
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def gguf_folder(file: Path) -> Path:
    """Return the folder that stands for a GGUF file. It is made if the cache does not have it.

    Args:
        file: The file. Any part of a model that is split into several files stands for all of them.

    Raises:
        ModelUnusable: A file is missing or damaged, it holds no Qwen3 model, or the cache cannot be written.
    """
    files = [part.absolute() for part in parts_of(file)]
    folder = _cache() / f"{gguf_stem(file.name)}-{_digest(files)}"
    if folder.is_dir():
        return folder
    contents = _contents(files)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        try:
            _write(new, contents, files)
            _put(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise ModelUnusable(
            f"The settings of {file} cannot be stored in {folder.parent}: {error}.",
            "Set XDG_CACHE_HOME to a folder that can be written.",
        ) from error
    return folder


def parts_of(file: Path) -> list[Path]:
    """Return the files of a model that is split into several ones, in order. Most models have one file."""
    part = _PART.fullmatch(file.name)
    if part is None:
        return [file]
    count = int(part["count"])
    return [file.with_name(f"{part['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]


def gguf_stem(name: str) -> str:
    """Return the name of a model's file without its ending and the number of its part."""
    part = _PART.fullmatch(name)
    return part["stem"] if part else name.removesuffix(GGUF)


def models_in(folder: Path) -> list[Path]:
    """Return the GGUF files in a folder, sorted. A model that is split into several files is represented by the first.

    Files that hold no language model of their own, such as encoders of images (`mmproj`), are left out.
    """
    files = sorted(path for path in folder.glob("*.gguf") if not path.name.startswith("mmproj"))
    return [path for path in files if parts_of(path)[0] == path or parts_of(path)[0] not in files]


def _contents(files: list[Path]) -> dict[str, dict[str, Any]]:
    """Return the JSON files that describe a model, by their names."""
    for path in files:
        if not path.is_file():
            raise ModelUnusable(f"{path} is missing; the model has {len(files)} files.", DAMAGED)
    headers = [read_header(path) for path in files]
    header = GgufHeader(headers[0].settings, [tensor for each in headers for tensor in each.tensors])
    settings = GgufSettings(header, str(files[0]))
    tokenizer = GgufTokenizer(settings, str(files[0]))
    contents = {
        "config.json": settings.config(),
        "generation_config.json": settings.generation_config(tokenizer.ids),
        "tokenizer.json": tokenizer.tokenizer_json(),
        "tokenizer_config.json": tokenizer.tokenizer_config(),
    }
    return contents | ({POOLING_FILE: {"pooling_mode_lasttoken": True}} if settings.pools() else {})


def _write(folder: Path, contents: Mapping[str, dict[str, Any]], files: Iterable[Path]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    for number, file in enumerate(files):
        (folder / f"model-{number:05d}{GGUF}").symlink_to(file)


def _put(new: Path, folder: Path) -> None:
    """Rename the new folder. Another process may have been faster; its folder holds the same."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _digest(files: Iterable[Path]) -> str:
    """Return a short hash that changes when the files do, as far as their sizes and times tell."""
    facts = [_LAYOUT]
    for path in files:
        try:
            found = path.stat()
        except OSError:
            continue  # the error names the file later
        facts += [str(path), str(found.st_size), str(found.st_mtime_ns)]
    return hashlib.sha256("\0".join(facts).encode(errors="surrogateescape")).hexdigest()[:12]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qwen-batch" / "gguf"
