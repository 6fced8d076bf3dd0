"""The systems to compare: every peer, with the fastest known settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What can be measured: the lone prompt; the long prompt; the batch workload; the same with other seeds; with four times
# the requests; with other numbers of requests; equal short prompts at several batch sizes; prompts that begin alike;
# completions that a JSON schema constrains.
Measure = Literal["one_stream", "prefill", "batch", "seeds", "large", "lines", "streams", "shared", "records"]

BASIC: tuple[Measure, ...] = ("one_stream", "prefill", "batch")
EVERYTHING: tuple[Measure, ...] = (*BASIC, "seeds", "large", "lines", "streams", "shared")  # what is free text


@dataclass(frozen=True)
class System:
    """A program, its settings, and how much of the comparison it takes part in."""

    key: str  # on the command line and in the results
    name: str  # in tables and plots
    module: str  # name of the program's module
    environment: str | None  # a key of `ENVIRONMENTS`; None for this program's own environment
    arguments: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = BASIC
    warm_up_requests: int | None = None  # None for all requests of a task
    by_default: bool = True
    bits: Literal[16, 8, 4] = 16  # of the weights; a system is compared with ours of as many bits

    @property
    def is_ours(self) -> bool:
        """True if this system is qwen-batch."""
        return self.environment is None


_OPENVINO = ("benchmarks.peers.programs.openvino_peer", "openvino")
_LLAMACPP = ("benchmarks.peers.programs.llamacpp_peer", "llamacpp")
_TRANSFORMERS = ("benchmarks.peers.programs.transformers_peer", "transformers")
_FEW = 4  # requests warm up a program that compiles nothing for a batch
_BF16_CACHE = ("--kv-cache", "bf16", "--cache-gib", "8")


def _systems() -> list[System]:
    """Return all systems in the order in which a round runs them."""
    return [
        System(
            "run",
            "qwen-batch run",
            "benchmarks.peers.programs.command_line_peer",
            None,
            measures=("batch", "seeds", "large", "lines", "shared", "records"),
        ),
        System("openvino", "OpenVINO GenAI", *_OPENVINO, measures=(*EVERYTHING, "records")),
        System(
            "engine",
            "qwen-batch, engine alone",
            "benchmarks.peers.programs.engine_peer",
            None,
            measures=(*BASIC, "large", "streams", "shared"),
        ),
        System(
            "service",
            "qwen-batch submit, worker running",
            "benchmarks.peers.programs.service_peer",
            None,
            measures=("batch", "large"),
        ),
        System(
            "openvino-bf16-cache",
            "OpenVINO GenAI, bf16 cache",
            *_OPENVINO,
            _BF16_CACHE,
            measures=(*BASIC, "seeds", "large", "shared"),
        ),
        System("llamacpp", "llama.cpp", *_LLAMACPP, warm_up_requests=_FEW),
        System(
            "vllm",
            "vLLM for CPUs",
            "benchmarks.peers.programs.vllm_peer",
            "vllm",
            measures=(*BASIC, "shared", "records"),
        ),
        System("transformers", "transformers, static batch", *_TRANSFORMERS, warm_up_requests=_FEW),
        System(
            "transformers-f32",
            "transformers, static batch, float32",
            *_TRANSFORMERS,
            ("--dtype", "float32"),
            warm_up_requests=_FEW,
            by_default=False,
        ),
        System("openvino-int8", "OpenVINO GenAI, int8", *_OPENVINO, ("--weights", "int8"), bits=8),
        System(
            "openvino-int8-f32",
            "OpenVINO GenAI, int8, f32",
            *_OPENVINO,
            ("--weights", "int8", "--precision", "f32"),
            measures=("one_stream",),
            bits=8,
        ),
        System(
            "llamacpp-q8",
            "llama.cpp, q8_0",
            *_LLAMACPP,
            ("--weights", "q8_0"),
            warm_up_requests=_FEW,
            bits=8,
        ),
        System(
            "llamacpp-q4",
            "llama.cpp, q4_0",
            *_LLAMACPP,
            ("--weights", "q4_0"),
            warm_up_requests=_FEW,
            bits=4,
        ),
        *_ours_quantised(8),
        *_ours_quantised(4),
        *_other_settings_of_llamacpp(),
    ]


def _ours_quantised(bits: Literal[8, 4]) -> list[System]:
    options = ("--quantize", f"int{bits}")
    return [
        System(
            f"run-int{bits}",
            f"qwen-batch run, int{bits}",
            "benchmarks.peers.programs.command_line_peer",
            None,
            options,
            measures=("batch",),
            bits=bits,
        ),
        System(
            f"engine-int{bits}",
            f"qwen-batch, engine alone, int{bits}",
            "benchmarks.peers.programs.engine_peer",
            None,
            options,
            bits=bits,
        ),
    ]


def _other_settings_of_llamacpp() -> list[System]:
    """Return further settings of llama.cpp, to find the best one on another machine."""
    settings = {
        "llamacpp-16": ("llama.cpp, 16 parallel", ("--parallel", "16")),
        "llamacpp-64": ("llama.cpp, 64 parallel", ("--parallel", "64")),
        "llamacpp-unified": ("llama.cpp, one cache", ("--unified-cache",)),
    }
    return [
        System(key, name, *_LLAMACPP, arguments, measures=("batch",), by_default=False)
        for key, (name, arguments) in settings.items()
    ]


SYSTEMS = {system.key: system for system in _systems()}
