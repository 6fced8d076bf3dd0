"""Lesser processors as which a series can run: they show what computers without the newest instructions reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LesserProcessor:
    """The settings that hold every system of a series to some instructions.

    OpenVINO and vLLM contain oneDNN, so they obey its variable. llama.cpp chooses its instructions when it is built.
    """

    name: str
    variables: Mapping[str, str]  # environment variables of qwen-batch, PyTorch, oneDNN and MKL
    llamacpp_flags: str  # flags of llama.cpp's build


_LLAMACPP_AVX2 = "-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"

_AVX2 = LesserProcessor(
    "avx2",
    {
        "QWEN_BATCH_CPU_TIER": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    _LLAMACPP_AVX2,
)
_AVX512 = LesserProcessor(
    "avx512",
    {"QWEN_BATCH_CPU_TIER": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    f"{_LLAMACPP_AVX2} -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON",
)
LESSER_PROCESSORS = {processor.name: processor for processor in (_AVX2, _AVX512)}
