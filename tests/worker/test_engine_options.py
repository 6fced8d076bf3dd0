"""Settings become what the engine is asked for."""

from __future__ import annotations

import pytest

from engine.config import EngineConfig
from jobs.errors import InvalidInput
from jobs.settings import Settings
from worker.engine_options import engine_config


def test_what_is_not_set_is_left_to_the_machine() -> None:
    assert engine_config(Settings()) == EngineConfig()


def test_every_setting_of_the_engine_is_passed_on() -> None:
    settings = Settings(
        device="cpu",
        dtype="bfloat16",
        quantize="int8",
        compile=False,
        prefix_caching=False,
        speculate=False,
        max_num_seqs=7,
        max_batched_tokens=300,
        max_model_len=1_000,
        kv_cache_memory="2GiB",
        threads=3,
    )
    assert engine_config(settings) == EngineConfig(
        device="cpu",
        dtype="bfloat16",
        quantize="int8",
        compile=False,
        prefix_caching=False,
        speculate=False,
        max_num_seqs=7,
        max_batched_tokens=300,
        max_model_len=1_000,
        kv_cache_memory_bytes=2 * 2**30,
        threads=3,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(device="tpu"), "`device` is 'tpu'; it must be one of auto, cpu, cuda, mps."),
        (Settings(quantize="fp8"), "`quantize` is 'fp8'; it must be one of none, int8, int4."),
        (Settings(dtype="int8"), "`dtype` is 'int8'; it must be one of auto, float32, bfloat16."),
        (Settings(kv_cache_memory="lots"), "'lots' is not a size in bytes."),
    ],
)
def test_what_does_not_exist_is_refused_by_name(settings: Settings, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        engine_config(settings)
    assert error.value.message == message
