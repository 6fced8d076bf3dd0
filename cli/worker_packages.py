"""Check for the packages that only workers need."""

from __future__ import annotations

from importlib.util import find_spec

from jobs.errors import InvalidInput

_NEEDED = ("torch", "safetensors", "tokenizers", "huggingface_hub", "numpy", "psutil")


def require_worker_packages() -> None:
    """Raise `InvalidInput` unless this installation can run a model. The check imports none of the packages."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"This installation cannot run a model. It lacks these packages: {', '.join(missing)}.",
            "Install them with `pip install 'qwen-batch[worker]'`.",
        )
