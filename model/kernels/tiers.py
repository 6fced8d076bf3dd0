"""Tiers of processors, and the choice of the tier for which this process loads the C++ operators.

A tier is a set of instructions. Each tier has a library of its own, so one wheel holds fast operators for all of them.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import InvalidInput
from model.kernels.macos_facts import SYSCTL, facts_of_macos

VARIABLE = "QWEN_BATCH_CPU_TIER"  # forces a lower tier; `jobs.settings.Settings` knows it, too


@dataclass(frozen=True)
class Tier:
    """A set of instructions for which the C++ operators are compiled."""

    name: str
    machine: str  # architecture, as `platform.machine()` of Linux names it
    flags: tuple[str, ...]  # flags of g++ and clang++
    needs: frozenset[str]  # features of the processor, as /proc/cpuinfo names them


_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"})
_AVX2_VNNI = _AVX2 | {"avx_vnni"}
_AVX512_BASE = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_AVX512 = _AVX512_BASE | {"avx512_vnni"}
_AVX512_BF16 = _AVX512 | {"avx512_bf16"}
_AMX = _AVX512_BF16 | {"amx_tile", "amx_bf16", "amx_int8"}
_NEON = frozenset({"asimd", "asimddp", "asimdrdm", "atomics", "crc32"})
_NEON_BF16 = _NEON | {"bf16", "i8mm"}

# macOS's names of features that not all of Apple's ARM processors have. All have those of the tier `neon`.
_APPLE_NAMES = {"hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.arm.FEAT_I8MM": "i8mm"}

_AVX512_FLAGS = ("-march=x86-64-v4", "-mavx512vnni")
_AMX_FLAGS = ("-mamx-tile", "-mamx-bf16", "-mamx-int8")

# Each tier of an architecture includes the instructions of the tiers before it, except those of AVX-VNNI: Intel's
# client processors have them without AVX-512, and older servers have AVX-512 without them. Skylake-X has a tier of its
# own, because its registers are twice as wide as those of AVX2. It lacks only the instructions for 8-bit weights.
TIERS = (
    Tier("avx2", "x86_64", ("-march=x86-64-v3",), _AVX2),
    Tier("avx2-vnni", "x86_64", ("-march=x86-64-v3", "-mavxvnni"), _AVX2_VNNI),
    Tier("avx512-base", "x86_64", ("-march=x86-64-v4",), _AVX512_BASE),
    Tier("avx512", "x86_64", _AVX512_FLAGS, _AVX512),
    Tier("avx512-bf16", "x86_64", (*_AVX512_FLAGS, "-mavx512bf16"), _AVX512_BF16),
    Tier("amx", "x86_64", (*_AVX512_FLAGS, "-mavx512bf16", *_AMX_FLAGS), _AMX),
    Tier("neon", "aarch64", ("-march=armv8.2-a+dotprod",), _NEON),
    Tier("neon-bf16", "aarch64", ("-march=armv8.2-a+dotprod+bf16+i8mm",), _NEON_BF16),
)


@dataclass(frozen=True)
class Processor:
    """This machine's processor."""

    machine: str  # architecture, as `platform.machine()` of Linux names it
    features: frozenset[str]  # as /proc/cpuinfo names them
    description: str  # model and features, on which code for exactly this processor depends

    @classmethod
    def inspect(cls, cpuinfo: Path = Path("/proc/cpuinfo"), program: Path = SYSCTL) -> Processor:
        """Read what the processor has and what the operating system allows.

        Linux lists no feature whose registers it does not save.

        Args:
            cpuinfo: The file in which Linux lists the features.
            program: The program that macOS has instead. It is asked if there is no such file.
        """
        machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
        if not cpuinfo.exists():
            return cls._of_apple(machine, program)
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        kept = sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))})
        features = {word for line in kept if not line.startswith("model") for word in line.partition(":")[2].split()}
        return cls(machine, frozenset(features), "\n".join(kept))

    @classmethod
    def _of_apple(cls, machine: str, program: Path) -> Processor:
        facts = facts_of_macos(["machdep.cpu.brand_string", *_APPLE_NAMES], program)
        further = {feature for name, feature in _APPLE_NAMES.items() if facts.get(name) == "1"}
        features = _NEON | further if machine == "aarch64" else frozenset()
        return cls(machine, features, "\n".join(map(": ".join, facts.items())))

    @property
    def fingerprint(self) -> str:
        """Return a short hash of the description, for names of folders."""
        return hashlib.sha256(self.description.encode()).hexdigest()[:16]

    def tiers(self) -> list[Tier]:
        """Return the tiers that this processor can run, from the lowest to the highest."""
        return [tier for tier in TIERS if tier.machine == self.machine and tier.needs <= self.features]


def choose_tier(processor: Processor, environ: Mapping[str, str] = os.environ) -> Tier:
    """Return the highest tier that the processor can run, or the lower one that the environment names.

    A processor that fits no tier gets a tier of its own, `native`. No prebuilt library exists for that one.

    Raises:
        InvalidInput: The environment names no tier that this processor can run.
    """
    possible = {tier.name: tier for tier in processor.tiers()}
    forced = environ.get(VARIABLE)
    if forced in possible:
        return possible[forced]
    if forced:
        can = f"this processor can run {', '.join(possible)}" if possible else "this processor fits no tier"
        known = ", ".join(tier.name for tier in TIERS)
        raise InvalidInput(
            f"{VARIABLE} is {forced!r}; the tiers are {known}, and {can}.",
            "Set one that this processor can run, or unset the variable to get the highest.",
        )
    native = "-mcpu=native" if processor.machine == "aarch64" else "-march=native"
    return list(possible.values())[-1] if possible else Tier("native", processor.machine, (native,), frozenset())
