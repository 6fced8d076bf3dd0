from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.config import EngineConfig, QuantizeName
from engine.machine.machine import Machine
from engine.machine.memory_needs import step_bytes, weight_bytes
from engine.machine.resolve import resolve
from jobs.errors import InvalidInput, ModelUnusable
from model.checkpoint.config import ModelConfig
from testing.models.embedding_checkpoint import write_embedding_checkpoint
from testing.models.qwen3_shape import QWEN3_06B
from testing.models.tiny_checkpoint import TINY_EXPERTS, write_tiny_checkpoint

GIB = 1 << 30
LAPTOP = Machine(cores=4, memory_left_bytes=12 * GIB, cuda_memory_left_bytes=None, has_mps=False)
SERVER = replace(LAPTOP, cuda_memory_left_bytes=80 * GIB)
PAGE_BYTES = 64 * 112 * 1024  # 112 KiB a token
EMBEDDING_06B = replace(QWEN3_06B, has_output_layer=False)


def test_the_cache_takes_a_quarter_of_what_the_weights_leave() -> None:
    resolved = resolve(EngineConfig(), QWEN3_06B, LAPTOP)
    head = 151_936 * 1024
    weights = (596_049_920 + head) * 2  # the tied output layer may be packed apart
    left = LAPTOP.memory_left_bytes - weights
    assert resolved.num_pages == left // 4 // PAGE_BYTES
    assert (resolved.device, resolved.dtype, resolved.threads, resolved.compile) == ("cpu", "bfloat16", 4, True)
    assert (resolved.policy.max_num_seqs, resolved.policy.max_batched_tokens) == (64, 1024)


def test_the_cache_is_no_larger_than_a_full_batch_needs() -> None:
    config = EngineConfig(max_model_len=130, max_num_seqs=10)
    assert resolve(config, QWEN3_06B, LAPTOP).num_pages == 1 + 10 * 3
    assert resolve(replace(config, kv_cache_memory_bytes=8 * GIB), QWEN3_06B, LAPTOP).num_pages == 1 + 10 * 3


def test_a_gpu_is_the_best_there_is_and_gets_larger_batches() -> None:
    resolved = resolve(EngineConfig(), QWEN3_06B, SERVER)
    assert (resolved.device, resolved.policy.max_num_seqs, resolved.policy.max_batched_tokens) == ("cuda:0", 256, 8192)
    assert SERVER.cuda_memory_left_bytes is not None
    left = int(SERVER.cuda_memory_left_bytes * 0.9) - 596_049_920 * 2  # the tied output layer is the embedding
    step = step_bytes(QWEN3_06B, torch.bfloat16, 8192, 256 + 64, 40_960)  # newcomers included
    assert resolved.num_pages == (left - step) // PAGE_BYTES
    assert GIB < step < 1.35 * GIB
    assert resolve(EngineConfig(device="cpu"), QWEN3_06B, SERVER).device == "cpu"
    mac = replace(LAPTOP, has_mps=True)
    assert resolve(EngineConfig(), QWEN3_06B, mac).device == "cpu"
    assert resolve(EngineConfig(device="mps"), QWEN3_06B, mac).device == "mps"


def test_larger_steps_leave_less_of_a_gpu_to_the_cache() -> None:
    small = replace(LAPTOP, cuda_memory_left_bytes=8 * GIB)
    usual = resolve(EngineConfig(), QWEN3_06B, small)
    assert 4 * GIB < usual.num_pages * PAGE_BYTES < 5 * GIB
    for config in (EngineConfig(max_batched_tokens=16_384), EngineConfig(max_num_seqs=512)):
        assert resolve(config, QWEN3_06B, small).num_pages < usual.num_pages


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cuda is not available"):
        resolve(EngineConfig(device="cuda"), QWEN3_06B, LAPTOP)


def test_the_context_is_cut_to_what_fits_and_a_line_says_so() -> None:
    lines: list[str] = []
    config = EngineConfig(kv_cache_memory_bytes=GIB)
    resolved = resolve(config, QWEN3_06B, LAPTOP, lines.append)
    assert resolved.max_model_len == (GIB // PAGE_BYTES - 1) * 64 == 9280
    assert len(lines) == 1 and "9,280 of the model's 40,960 tokens" in lines[0] and "1022 MiB" in lines[0]
    resolve(EngineConfig(max_model_len=9280, kv_cache_memory_bytes=GIB), QWEN3_06B, LAPTOP, lines.append)
    assert len(lines) == 1


def test_a_context_that_was_asked_for_is_never_cut() -> None:
    with pytest.raises(InvalidInput, match=r"1\.\d+ GiB|holds 9,280 tokens; max_model_len 9,300 needs") as caught:
        resolve(EngineConfig(max_model_len=9300, kv_cache_memory_bytes=GIB), QWEN3_06B, LAPTOP)
    assert "at most 9280" in caught.value.hint
    needed = 148 * PAGE_BYTES
    enough = EngineConfig(max_model_len=9300, kv_cache_memory_bytes=needed)
    assert resolve(enough, QWEN3_06B, LAPTOP).max_model_len == 9300


@pytest.mark.parametrize("memory", [0, PAGE_BYTES, 2 * PAGE_BYTES - 1])
def test_a_cache_without_a_page_for_tokens_is_refused(memory: int) -> None:
    with pytest.raises(ModelUnusable, match="at least 2 pages"):
        resolve(EngineConfig(kv_cache_memory_bytes=memory), QWEN3_06B, LAPTOP)


def test_a_model_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(
        ModelUnusable, match=r"weights take 1\.4 GiB and the KV cache 0 bytes, but only 1 GiB of memory is free"
    ):
        resolve(EngineConfig(), QWEN3_06B, replace(LAPTOP, memory_left_bytes=GIB))


def test_a_cache_larger_than_the_memory_is_refused() -> None:
    config = EngineConfig(kv_cache_memory_bytes=11 * GIB)
    with pytest.raises(ModelUnusable, match="KV cache 11 GiB, but only 12 GiB of memory is free"):
        resolve(config, QWEN3_06B, LAPTOP)
    assert resolve(config, QWEN3_06B, replace(LAPTOP, memory_left_bytes=13 * GIB)).max_model_len == 40_960


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (EngineConfig(max_model_len=50_000), "max_model_len is 50,000; this model takes 2 to 40,960"),
        (EngineConfig(max_model_len=1), "max_model_len is 1; it must be at least 2"),
        (EngineConfig(max_num_seqs=0), "max_num_seqs is 0; it must be at least 1"),
        (EngineConfig(max_batched_tokens=-1), "max_batched_tokens is -1; it must be at least 1"),
        (EngineConfig(threads=0), "threads is 0; it must be at least 1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(config: EngineConfig, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        resolve(config, QWEN3_06B, LAPTOP)


@pytest.mark.parametrize(
    ("config", "machine", "says"),
    [
        (EngineConfig(quantize="int8", dtype="float32"), LAPTOP, "`quantize` is int8 and `dtype` is float32"),
        (EngineConfig("mps", quantize="int8"), replace(LAPTOP, has_mps=True), "runs only on CPUs; the device is mps"),
    ],
)
def test_eight_bit_weights_go_with_bfloat16_on_a_cpu(config: EngineConfig, machine: Machine, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        resolve(config, QWEN3_06B, machine)
    resolved = resolve(EngineConfig(quantize="int8", device="cpu"), replace(QWEN3_06B, dtype="float32"), machine)
    assert (resolved.dtype, resolved.quantize) == ("bfloat16", "int8")


def test_eight_bit_weights_leave_more_memory_to_the_cache() -> None:
    exact, rounded = (weight_bytes(QWEN3_06B, torch.bfloat16, quantize) for quantize in ("none", "int8"))
    embedding = QWEN3_06B.vocab_size * QWEN3_06B.hidden_size * 2
    assert rounded - embedding == pytest.approx((exact - embedding) * 260 / 512, rel=0.001)


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("machine", [LAPTOP, SERVER])
def test_an_embedding_model_needs_no_memory_for_an_output_layer(machine: Machine, quantize: QuantizeName) -> None:
    is_cpu = machine is LAPTOP
    untied = replace(QWEN3_06B, tie_word_embeddings=False)
    for model in (QWEN3_06B, untied):
        needed = weight_bytes(replace(model, has_output_layer=False), torch.bfloat16, quantize, packed=is_cpu)
        assert needed == weight_bytes(QWEN3_06B, torch.bfloat16, quantize, packed=False)
    if not is_cpu and quantize == "int8":
        return  # 8-bit weights need a CPU
    config = EngineConfig(quantize=quantize, max_num_seqs=5_000)
    assert resolve(config, EMBEDDING_06B, machine).num_pages > resolve(config, QWEN3_06B, machine).num_pages


def test_a_step_of_an_embedding_model_computes_no_logits() -> None:
    text, embedding = (step_bytes(model, torch.bfloat16, 8192, 64, 4096) for model in (QWEN3_06B, EMBEDDING_06B))
    assert text - embedding == 151_936 * 64 * (12 + 24)


def test_the_weights_of_the_tiny_model_are_counted_to_the_byte(tiny_folder: Path) -> None:
    stored = load_file(tiny_folder / "model.safetensors")
    head = stored["model.embed_tokens.weight"].nbytes
    needed = weight_bytes(ModelConfig.from_folder(tiny_folder), torch.float32)
    assert needed == sum(tensor.nbytes for tensor in stored.values()) + head


def test_the_weights_of_experts_are_counted_to_the_byte(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path, **TINY_EXPERTS, tie_word_embeddings=False)
    stored = sum(tensor.nbytes for tensor in load_file(folder / "model.safetensors").values())
    assert weight_bytes(ModelConfig.from_folder(folder), torch.float32) == stored


def test_the_router_of_experts_stays_in_float32_beside_8_bit_weights(tmp_path: Path) -> None:
    few, many = (
        weight_bytes(
            ModelConfig.from_folder(
                write_tiny_checkpoint(tmp_path / str(count), **(TINY_EXPERTS | {"num_experts": count}))
            ),
            torch.bfloat16,
            "int8",
        )
        for count in (4, 5)
    )
    # Two layers. Each row of gate and up [32, 64] and of down [64, 32] is one group of 260 bytes.
    assert many - few == 2 * 64 * 4 + 2 * (32 + 32 + 64) * 260


def test_experts_are_refused_on_a_gpu_and_guess_no_tokens(tmp_path: Path) -> None:
    experts = ModelConfig.from_folder(write_tiny_checkpoint(tmp_path, **TINY_EXPERTS))
    assert not resolve(EngineConfig(), experts, LAPTOP).speculate
    with pytest.raises(InvalidInput, match="mixture of experts, which runs only on CPUs so far; the device is cuda"):
        resolve(EngineConfig(), experts, SERVER)


@pytest.mark.parametrize("tied", [False, True])
def test_the_weights_of_an_embedding_models_folder_are_what_its_file_holds(tmp_path: Path, tied: bool) -> None:
    folder = write_embedding_checkpoint(tmp_path, tie_word_embeddings=tied)
    stored = sum(tensor.nbytes for tensor in load_file(folder / "model.safetensors").values())
    assert weight_bytes(ModelConfig.from_folder(folder), torch.float32) == stored


def test_a_bfloat16_checkpoint_runs_in_float32_where_bfloat16_has_no_fast_kernel() -> None:
    said: list[str] = []
    resolved = resolve(EngineConfig(max_model_len=1024), QWEN3_06B, LAPTOP, said.append, fast_bfloat16=False)
    assert resolved.dtype == "float32"
    assert said == [
        "Running in float32: this machine has no fast kernel for bfloat16, the checkpoint's type. "
        "`--dtype bfloat16` is slower and takes half the memory."
    ]


def test_a_type_asked_for_by_name_is_taken_without_a_word() -> None:
    said: list[str] = []
    asked = EngineConfig(dtype="bfloat16", max_model_len=1024)
    assert resolve(asked, QWEN3_06B, LAPTOP, said.append, fast_bfloat16=False).dtype == "bfloat16"
    assert said == []


def test_weights_that_only_fit_in_bfloat16_are_refused_with_that_hint() -> None:
    small = replace(LAPTOP, memory_left_bytes=2 * GIB)
    with pytest.raises(ModelUnusable) as caught:
        resolve(EngineConfig(kv_cache_memory_bytes=GIB // 4), QWEN3_06B, small, fast_bfloat16=False)
    assert "`--dtype bfloat16`" in (caught.value.hint or "")
