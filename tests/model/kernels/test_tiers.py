"""Each processor gets the highest tier of kernels that it can run, and a user may force a lower one."""

from __future__ import annotations

import platform
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.settings import Settings
from model.kernels.tiers import TIERS, VARIABLE, Processor, choose_tier
from testing.processes.command_line import environment, qwen_batch

AVX2 = "fpu sse4_2 avx avx2 fma f16c bmi1 bmi2 abm movbe aes"
ALDER_LAKE = f"{AVX2} avx_vnni"
SKYLAKE_X = f"{AVX2} avx512f avx512bw avx512cd avx512dq avx512vl"
ICE_LAKE = f"{SKYLAKE_X} avx512_vnni avx512_vbmi2"
ZEN_4 = f"{ICE_LAKE} avx512_bf16"
SAPPHIRE_RAPIDS = f"{ZEN_4} avx_vnni amx_bf16 amx_tile amx_int8 avx512_fp16"
GRAVITON_2 = "fp asimd crc32 atomics asimdrdm asimddp"
X86_NAMES = ["avx2", "avx2-vnni", "avx512-base", "avx512", "avx512-bf16", "amx"]


def processor(features: str, machine: str = "x86_64") -> Processor:
    return Processor(machine, frozenset(features.split()), features)


@pytest.mark.parametrize(
    ("features", "machine", "name"),
    [
        (AVX2, "x86_64", "avx2"),
        (ALDER_LAKE, "x86_64", "avx2-vnni"),
        (SKYLAKE_X, "x86_64", "avx512-base"),
        (ICE_LAKE, "x86_64", "avx512"),
        (ZEN_4, "x86_64", "avx512-bf16"),
        (f"{ZEN_4} avx_vnni", "x86_64", "avx512-bf16"),  # Zen 5
        (SAPPHIRE_RAPIDS, "x86_64", "amx"),
        (GRAVITON_2, "aarch64", "neon"),
        (f"{GRAVITON_2} bf16 i8mm", "aarch64", "neon-bf16"),  # Graviton 3
    ],
)
def test_a_processor_gets_its_highest_tier(features: str, machine: str, name: str) -> None:
    assert choose_tier(processor(features, machine), {}).name == name


@pytest.mark.parametrize(
    ("features", "machine", "flag"),
    [
        ("fpu sse4_2 avx", "x86_64", "-march=native"),  # Sandy Bridge
        ("fp asimd crc32", "aarch64", "-mcpu=native"),  # Raspberry Pi 4
        (AVX2, "riscv64", "-march=native"),
    ],
)
def test_a_processor_that_fits_no_tier_gets_code_for_itself(features: str, machine: str, flag: str) -> None:
    tier = choose_tier(processor(features, machine), {})
    assert (tier.name, tier.flags) == ("native", (flag,))


def test_a_tier_needs_what_the_tiers_before_it_need_and_more() -> None:
    x86 = [tier for tier in TIERS if tier.machine == "x86_64"]
    assert [tier.name for tier in x86] == X86_NAMES
    # Servers have AVX-512 without AVX-VNNI, so no later tier needs the latter.
    in_order = [tier for tier in x86 if tier.name != "avx2-vnni"]
    assert all(lower.needs < higher.needs for lower, higher in pairwise(in_order))
    assert [tier.name for tier in x86 if "avx_vnni" in tier.needs] == ["avx2-vnni"]


@pytest.mark.parametrize("name", X86_NAMES)
def test_the_variable_forces_each_tier_that_the_processor_can_run(name: str) -> None:
    assert choose_tier(processor(SAPPHIRE_RAPIDS), {VARIABLE: name}).name == name


def test_an_empty_variable_forces_nothing() -> None:
    assert choose_tier(processor(ICE_LAKE), {VARIABLE: ""}).name == "avx512"


@pytest.mark.parametrize("value", ["avx512-bf16", "neon", "avx3", "native"])
def test_a_tier_that_the_processor_cannot_run_is_named_with_those_that_it_can(value: str) -> None:
    with pytest.raises(InvalidInput) as error:
        choose_tier(processor(ICE_LAKE), {VARIABLE: value})
    assert error.value.message == (
        f"QWEN_BATCH_CPU_TIER is {value!r}; the tiers are avx2, avx2-vnni, avx512-base, avx512, avx512-bf16, amx, "
        "neon, neon-bf16, and this processor can run avx2, avx512-base, avx512."
    )


def test_a_processor_without_a_tier_takes_no_other() -> None:
    with pytest.raises(InvalidInput, match="this processor fits no tier"):
        choose_tier(processor("sse4_2"), {VARIABLE: "avx2"})


def test_features_that_the_operating_system_hides_do_not_count(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cores = [f"processor\t: {n}\nmodel name\t: Xeon amx_tile\nflags\t\t: {AVX2}\n\n" for n in range(2)]
    cpuinfo.write_text("".join(cores))
    seen = Processor.inspect(cpuinfo)
    assert seen.features == frozenset(AVX2.split())
    assert "Xeon amx_tile" in seen.description


@pytest.mark.parametrize(
    ("brand", "answer", "name"),
    [
        ("Apple M1", "hw.optional.arm.FEAT_BF16: 0\\nhw.optional.arm.FEAT_I8MM: 0\\n", "neon"),
        ("Apple M2", "hw.optional.arm.FEAT_BF16: 1\\nhw.optional.arm.FEAT_I8MM: 1\\n", "neon-bf16"),
        ("Apple M2 with an old macOS", "", "neon"),  # it knows neither name
    ],
)
def test_apples_processors_get_the_highest_tier_that_macos_tells_of(
    brand: str, answer: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(f"#!/bin/sh\nprintf 'machdep.cpu.brand_string: {brand}\\n{answer}'\n")
    sysctl.chmod(0o755)
    seen = Processor.inspect(tmp_path / "no_cpuinfo", sysctl)
    assert choose_tier(seen, {}).name == name
    assert brand in seen.description


def test_a_system_that_lists_no_features_has_a_processor_without_any(tmp_path: Path) -> None:
    assert Processor.inspect(tmp_path / "no_cpuinfo", tmp_path / "no_sysctl").description == ""


def test_the_settings_know_the_variable() -> None:
    assert Settings.from_env({VARIABLE: "avx2"}).cpu_tier == "avx2"


def test_a_wrong_tier_is_one_line_for_the_user(tmp_path: Path) -> None:
    done = qwen_batch("generate", "2 + 2", "--model", "demo", env=environment(tmp_path, QWEN_BATCH_CPU_TIER="avx3"))
    assert done.returncode != 0
    assert "QWEN_BATCH_CPU_TIER is 'avx3'; the tiers are avx2" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
