"""Engine settings: as the user gives them, and as resolved for this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.scheduling.policy import SchedulingPolicy

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16"]
QuantizeName = Literal["none", "int8", "int4"]

PAGE_SIZE = 64  # tokens per page: a multiple of every vector width, and small compared with a usual sequence


@dataclass(frozen=True)
class EngineConfig:
    """The user's settings. `engine.machine.resolve` turns them into a `ResolvedConfig` once, at the start."""

    device: DeviceName = "auto"  # "auto": cuda if present, else cpu
    dtype: DtypeName = "auto"  # "auto": the checkpoint's type; float32 where bfloat16 has no fast kernel
    quantize: QuantizeName = "none"  # bits of the weights in matrix products, whose inputs are then rounded to 8 bits
    compile: bool = True
    max_num_seqs: int | None = None  # sequences per batch; None: default of the device (CPU 64, GPU 256)
    max_batched_tokens: int | None = None  # prompt tokens per prefill step; None: default of the device
    prefix_caching: bool = True  # prompts that begin alike share the pages of their beginning
    speculate: bool = True  # on a CPU, guess next tokens where that saves time (`engine.speculation.drafting`)
    max_model_len: int | None = None  # tokens of prompt and completion together; None: the model's limit
    kv_cache_memory_bytes: int | None = None  # None: a share of the memory left (`engine.machine.resolve`)
    threads: int | None = None  # CPU threads of the model's kernels; None: the cores that this process may use
    max_mixed_tokens: int = SchedulingPolicy.max_mixed_tokens  # prompt tokens per mixed step; no option sets it


@dataclass(frozen=True)
class ResolvedConfig:
    """The settings that the engine runs with. Every value is explicit and final."""

    device: str  # "cpu", "cuda:0", "mps"
    dtype: Literal["float32", "bfloat16"]
    quantize: QuantizeName
    compile: bool
    policy: SchedulingPolicy
    max_model_len: int
    num_pages: int  # includes page 0, the sink for padded rows
    threads: int
    speculate: bool
