"""How an engine is set up: what was asked for, and what that became on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16"]
QuantizeName = Literal["none", "int8"]

PAGE_SIZE = 64  # tokens a page: a multiple of every vector width, and small beside a usual sequence


@dataclass(frozen=True)
class EngineConfig:
    """What the person asked for. `engine.machine.resolve` turns automatic values into a `ResolvedConfig`, once."""

    device: DeviceName = "auto"  # the best there is
    dtype: DtypeName = "auto"  # the checkpoint's; float32 where bfloat16 has no fast kernel
    quantize: QuantizeName = "none"  # "int8": weights of products in 8 bits, their inputs rounded to 8 as they come
    compile: bool = True
    max_num_seqs: int | None = None  # sequences in a batch; None: by device (CPU 64, GPU 256)
    max_batched_tokens: int | None = None  # prompt tokens of one prefill step; None: by device
    max_model_len: int | None = None  # prompt and completion in tokens; None: the model's
    kv_cache_memory_bytes: int | None = None  # None: what the machine has left, within reason
    threads: int | None = None  # CPU threads of the model's kernels; None: the cores this process may use


@dataclass(frozen=True)
class ResolvedConfig:
    """What the engine runs with; nothing in it is automatic and nothing changes it."""

    device: str  # "cpu", "cuda:0", "mps"
    dtype: Literal["float32", "bfloat16"]
    quantize: QuantizeName
    compile: bool
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    num_pages: int  # page 0, the sink for padded rows, included
    threads: int
