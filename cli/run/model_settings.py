"""Check a model's config.json as a worker does, before one is started."""

from __future__ import annotations

from cli.options.target_model import local_folder
from model.checkpoint.config import ModelConfig


def check_model_settings(model: str) -> None:
    """Refuse a folder on this machine whose config.json no worker can use. Does not import torch.

    Raises:
        ModelUnusable: A setting is missing, out of range or not supported.
    """
    folder = local_folder(model)
    if folder is not None:
        ModelConfig.from_folder(folder)
