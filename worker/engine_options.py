"""Convert settings to the engine's configuration."""

from __future__ import annotations

from typing import TypeVar, get_args

from engine.config import DeviceName, DtypeName, EngineConfig, QuantizeName
from jobs.byte_size import parse_bytes
from jobs.errors import InvalidInput
from jobs.settings import Settings

Name = TypeVar("Name", bound=str)


def engine_config(settings: Settings) -> EngineConfig:
    """Return the engine's configuration. Numbers are checked later, when the model and the machine are known.

    Raises:
        InvalidInput: The device, dtype, quantisation or cache size is not valid.
    """
    devices: tuple[DeviceName, ...] = get_args(DeviceName)
    dtypes: tuple[DtypeName, ...] = get_args(DtypeName)
    quantizations: tuple[QuantizeName, ...] = get_args(QuantizeName)
    return EngineConfig(
        device=_one_of(devices, "device", settings.device),
        dtype=_one_of(dtypes, "dtype", settings.dtype),
        quantize=_one_of(quantizations, "quantize", settings.quantize),
        compile=settings.compile,
        prefix_caching=settings.prefix_caching,
        speculate=settings.speculate,
        max_num_seqs=settings.max_num_seqs,
        max_batched_tokens=settings.max_batched_tokens,
        max_model_len=settings.max_model_len,
        kv_cache_memory_bytes=None if settings.kv_cache_memory is None else parse_bytes(settings.kv_cache_memory),
        threads=settings.threads,
    )


def _one_of(allowed: tuple[Name, ...], name: str, value: str) -> Name:
    for known in allowed:
        if known == value:
            return known
    raise InvalidInput(f"`{name}` is {value!r}; it must be one of {', '.join(allowed)}.")
