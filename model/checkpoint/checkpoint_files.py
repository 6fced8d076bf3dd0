"""Which files make a checkpoint whole."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import ModelUnusable
from model.checkpoint.json_file import read_json_object


def missing_files(folder: Path) -> list[str]:
    """Names of the files that `folder` lacks to be loaded, weights last; empty when it is whole.

    Raises:
        ModelUnusable: The index of a sharded checkpoint is damaged.
    """
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return missing
    if not index.is_file():
        return [*missing, "model.safetensors"]
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelUnusable(f"{index} has no weight_map of file names.", "Download the model again.")
    return missing + [name for name in sorted(set(weight_map.values())) if not (folder / name).is_file()]
