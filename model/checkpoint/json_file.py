"""Reading the JSON files of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a model's JSON file.

    Raises:
        ModelUnusable: The file is missing, cannot be read, or holds no JSON object.
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
