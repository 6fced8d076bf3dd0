"""Which kind of quantised weights a `config.json` announces. Kinds that cannot be read are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jobs.errors import ModelUnusable

WeightFormat = Literal["plain", "fp8", "awq", "gptq", "gptq_v2", "compressed-tensors", "gguf"]

FORMAT_NAMES: dict[WeightFormat, str] = {  # to show to people
    "fp8": "FP8",
    "awq": "AWQ",
    "gptq": "GPTQ",
    "gptq_v2": "GPTQ",
    "compressed-tensors": "compressed-tensors",
    "gguf": "GGUF",
}

HINT = (
    "Use a checkpoint of the same model in FP8, AWQ, GPTQ or compressed-tensors, such as Qwen/Qwen3-0.6B-FP8, or the "
    "unquantised one."
)

FP8_BLOCK = 128  # rows and columns that share a scale

_COMPRESSED = (
    "pack-quantized",
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mixed-precision",
    "dense",
)
_AUTO_ROUND: dict[object, WeightFormat] = {"auto_round:auto_gptq": "gptq", "auto_round:auto_awq": "awq"}


def weight_format(raw: Mapping[str, Any], path: Path) -> WeightFormat:
    """Return the kind of weights that the settings in `raw` announce: "plain" if they are not quantised.

    The settings say how a quantised product is packed. Which products are quantised is told by the tensors' names.

    Raises:
        ModelUnusable: The weights are of a kind that cannot be read. The message names it.
    """
    settings = raw.get("quantization_config") or raw.get("compression_config")
    if settings is None and raw.get("quantization_config") is None:
        return "plain"
    if not isinstance(settings, dict):
        raise _unreadable(path, "UNNAMED")
    method = str(settings.get("quant_method") or "unnamed")
    match method:
        case "fp8":
            _require(path, method, settings, "weight_block_size", (None, [FP8_BLOCK, FP8_BLOCK]))
            _require(path, method, settings, "fmt", (None, "e4m3"))
            return "fp8"
        case "awq":
            _require(path, method, settings, "bits", (4,), settings.get("w_bit"))
            _require(path, method, settings, "version", ("gemm", None), settings.get("format"))
            return "awq"
        case "gptq":
            _require(path, method, settings, "bits", (4, 8))
            _require(path, method, settings, "checkpoint_format", ("gptq", "gptq_v2", None), settings.get("format"))
            _require(path, method, settings, "is_marlin_format", (None, False))
            _require(path, method, settings, "pack_dtype", (None, "int32"))
            version = settings.get("checkpoint_format") or settings.get("format")
            return "gptq_v2" if version == "gptq_v2" else "gptq"
        case "auto-round":
            _require(path, method, settings, "packing_format", tuple(_AUTO_ROUND))
            return _AUTO_ROUND[settings["packing_format"]]
        case "compressed-tensors":
            _check_compressed(path, settings)
        case "gguf":
            pass
        case _:
            raise _unreadable(path, method.upper())
    return "gguf" if method == "gguf" else "compressed-tensors"


def _check_compressed(path: Path, settings: Mapping[str, Any]) -> None:
    method = "compressed-tensors"
    _require(path, method, settings, "format", (None, *_COMPRESSED))
    sparsity = settings.get("sparsity_config")
    if isinstance(sparsity, dict):
        _require(path, method, {"sparsity": sparsity.get("format")}, "sparsity", (None, "dense"))
    groups = settings.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            _require(path, method, weights, "num_bits", (4, 8))


def _require(
    path: Path, method: str, settings: Mapping[str, Any], name: str, known: tuple[object, ...], other: object = None
) -> None:
    """Raise `ModelUnusable` unless the setting `name`, or `other` in its place, has a known value."""
    value = settings.get(name)
    value = other if value is None else value
    if (value.lower() if isinstance(value, str) else value) not in known:
        raise _unreadable(path, f"{method.upper()} with {name} {value!r:.80}")


def _unreadable(path: Path, kind: str) -> ModelUnusable:
    return ModelUnusable(f"{path}: the weights are quantised ({kind:.200}), which is not supported.", HINT)
