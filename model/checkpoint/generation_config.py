"""The eos tokens in a model's `generation_config.json`.

The client reads this file's sampling defaults without torch: `jobs.records.model_card`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable
from model.checkpoint.checkpoint_files import read_json_object


@dataclass(frozen=True)
class GenerationConfig:
    """The tokens that end a completion. The tuple is empty if the model names none."""

    eos_token_ids: tuple[int, ...]

    @classmethod
    def from_folder(cls, path: Path | str) -> GenerationConfig:
        """Read `generation_config.json`, or `config.json` if the first one is missing or names no eos token.

        Raises:
            ModelUnusable: A file is damaged, `config.json` is missing, or `eos_token_id` is neither a token id nor a
                list of token ids.
        """
        file = Path(path) / "generation_config.json"
        eos_ids = _eos_token_ids(read_json_object(file), file) if file.exists() else ()
        if eos_ids:
            return cls(eos_ids)
        file = Path(path) / "config.json"
        return cls(_eos_token_ids(read_json_object(file), file))


def _eos_token_ids(config: Mapping[str, Any], file: Path) -> tuple[int, ...]:
    value = config.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(token, bool) or not isinstance(token, int) or token < 0 for token in ids):
        raise ModelUnusable(
            f"eos_token_id in {file} is {value!r:.80}; it must be a token id or a list of token ids.",
            "Download the model again.",
        )
    return tuple(dict.fromkeys(ids))
