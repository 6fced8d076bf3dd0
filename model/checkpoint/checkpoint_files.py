"""The files of a checkpoint: which there are, and what a JSON file holds. Reading them needs no tensor library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
GGUF = ".gguf"
POOLING_FILE = "1_Pooling/config.json"  # of sentence-transformers; the client reads it: `jobs.records.model_card`
PROMPTS_FILE = "config_sentence_transformers.json"


def missing_files(folder: Path) -> list[str]:
    """Return the names of required files that `folder` lacks, weights last. The list is empty if none is missing.

    Raises:
        ModelUnusable: The index of a sharded checkpoint is damaged.
    """
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not has_safetensors(folder) and not gguf_files(folder):
        return [*missing, SINGLE_FILE]
    return missing + [name for name in weight_files(folder) if not (folder / name).is_file()]


def is_embedding_model(folder: Path) -> bool:
    """Return True if the model in `folder` makes embeddings. Its checkpoint then needs no output layer."""
    return (folder / POOLING_FILE).is_file()


def has_safetensors(folder: Path) -> bool:
    """Return whether the folder holds weights in the safetensors format."""
    return any((folder / name).is_file() for name in (SINGLE_FILE, INDEX_FILE))


def gguf_files(folder: Path) -> list[str]:
    """Return the names of the GGUF files in `folder`, sorted."""
    return sorted(path.name for path in folder.glob(f"*{GGUF}"))


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files of weights in `folder`.

    A single safetensors file takes precedence, as in transformers. GGUF files count only if there is no other one.

    Raises:
        ModelUnusable: There are no weights, or the index of a sharded checkpoint is damaged.
    """
    if (folder / SINGLE_FILE).is_file():
        return [SINGLE_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        if names := gguf_files(folder):
            return names
        raise ModelUnusable(
            f"There are no weights in {folder}: neither {SINGLE_FILE} nor {INDEX_FILE}.",
            "Name the folder that holds the model's files, in the safetensors format.",
        )
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelUnusable(f"{index} has no weight_map of file names.", "Download the model again.")
    names = sorted(set(weight_map.values()))
    for name in names:
        if Path(name).name != name:
            raise ModelUnusable(
                f"{index} names the file {name!r}, which is not in the index's folder.", "Download the model again."
            )
    return names


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a model's JSON file and return its object.

    Raises:
        ModelUnusable: The file is missing, not readable, or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnusable(
            f"There is no {path.name} in {path.parent}.", "Name the folder that holds the model's files."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnusable(f"{path} cannot be read: {error}.", "Download the model again.") from error
    if not isinstance(value, dict):
        raise ModelUnusable(f"{path} holds no JSON object.", "Download the model again.")
    return value
