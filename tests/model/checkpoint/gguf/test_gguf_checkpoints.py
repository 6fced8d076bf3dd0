"""A GGUF file runs as the checkpoint that it was made of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint.checkpoint_files import POOLING_FILE
from model.checkpoint.config import ModelConfig, YarnConfig
from model.checkpoint.gguf.block_types import BLOCK_TYPES
from model.checkpoint.gguf.folder import gguf_folder
from model.checkpoint.gguf.header import read_header
from model.checkpoint.hub import resolve_model
from model.qwen3 import Qwen3ForCausalLM
from testing.models.gguf_checkpoint import StoredTensor, gguf_of
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.tiny_checkpoint import TINY_EXPERTS, write_tensors
from tests.model.checkpoint.gguf.conftest import logits, refusal

Plain = Callable[..., Path]
GOLDEN = Path(__file__).parent / "golden"  # from tools.make_golden_gguf
SHAPES: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "experts": TINY_EXPERTS,
    "some layers with experts": TINY_EXPERTS | {"mlp_only_layers": [0]},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_file_gives_the_logits_of_the_checkpoint(tmp_path: Path, plain: Plain, shape: dict[str, Any]) -> None:
    folder = plain(**shape)
    file = gguf_of(folder).write(tmp_path / "tiny.gguf")
    assert torch.equal(logits(gguf_folder(file)), logits(folder))


@pytest.mark.parametrize("matrices", ["F16", "BF16", "Q8_0"])
def test_rounded_weights_give_the_logits_of_a_checkpoint_with_these_weights(
    tmp_path: Path, plain: Plain, matrices: str
) -> None:
    folder = plain()
    file = gguf_folder(gguf_of(folder, matrices).write(tmp_path / "tiny.gguf"))
    loaded = Qwen3ForCausalLM.from_folder(file, dtype=torch.float32)
    rounded = load_file(folder / "model.safetensors")
    for name, tensor in rounded.items():
        if tensor.dim() == 2:
            rounded[name] = _rounded(tensor, matrices)
    write_tensors(folder, rounded)
    (rows,) = PackedSteps(loaded).run([CachedSequence([3, 1, 4, 1, 5])])
    assert torch.equal(rows, logits(folder))


def test_a_model_that_llama_cpp_has_quantised_has_its_logits() -> None:
    golden = load_file(GOLDEN / "logits.safetensors")
    file = GOLDEN / "tiny-Q4_K_M.gguf"
    assert {tensor.dtype for tensor in read_header(file).tensors} == {"F32", "Q4_K", "Q6_K"}
    model = Qwen3ForCausalLM.from_folder(gguf_folder(file), dtype=torch.float32)
    (rows,) = PackedSteps(model).run([CachedSequence(golden["prompt"].tolist())])
    theirs, ours = golden["logits"].log_softmax(-1), rows.log_softmax(-1)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)  # llama.cpp also rounds activations to 8 bits
    assert float(divergence.mean()) < 3e-3
    assert torch.equal(theirs.argmax(-1), ours.argmax(-1))


def test_a_split_model_is_one_model_whichever_part_is_named(tmp_path: Path, plain: Plain) -> None:
    folder = plain()
    parts = gguf_of(folder).write_parts(tmp_path / "tiny.gguf", 3)
    folders = {gguf_folder(part) for part in parts}
    assert len(folders) == 1
    assert torch.equal(logits(folders.pop()), logits(folder))


def test_a_part_that_is_missing_is_named(tmp_path: Path, plain: Plain) -> None:
    first, second, _ = gguf_of(plain()).write_parts(tmp_path / "tiny.gguf", 3)
    second.unlink()
    assert refusal(lambda: gguf_folder(first)).message == f"{second} is missing; the model has 3 files."


def test_a_folder_with_one_file_stands_for_the_file(tmp_path: Path, plain: Plain) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    file = gguf_of(plain()).write(alone / "tiny.gguf")
    assert resolve_model(str(alone)).path == gguf_folder(file)


def test_a_folder_with_several_files_names_them(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    several = tmp_path / "several"
    several.mkdir()
    for name in ("a-Q4_K_M.gguf", "b-Q8_0.gguf", "mmproj-model.gguf"):
        content.write(several / name)
    content.write_parts(several / "c.gguf", 2)
    error = refusal(lambda: resolve_model(str(several)))
    assert error.message == f"{several} holds 3 GGUF files: a-Q4_K_M.gguf, b-Q8_0.gguf, c-00001-of-00002.gguf."
    assert error.hint == f"Name one of them: {several / 'a-Q4_K_M.gguf'}"


def test_a_folder_with_safetensors_is_taken_as_it_is(tmp_path: Path, plain: Plain) -> None:
    folder = plain()
    gguf_of(folder).write(folder / "tiny.gguf")
    assert resolve_model(str(folder)).path == folder


def test_a_file_of_any_name_is_taken_as_ollama_names_its_files(tmp_path: Path, plain: Plain) -> None:
    file = gguf_of(plain()).write(tmp_path / "sha256-0123abcd")
    assert ModelConfig.from_folder(resolve_model(str(file)).path).num_layers == 2


def test_a_file_is_converted_once_and_again_when_it_changes(tmp_path: Path, plain: Plain, cache: Path) -> None:
    folder = plain()
    file = gguf_of(folder).write(tmp_path / "tiny.gguf")
    first = gguf_folder(file)
    assert gguf_folder(file) == first
    assert [path.name for path in cache.iterdir()] == [first.name]
    gguf_of(plain(num_hidden_layers=1)).write(file)
    os.utime(file, (1, 1))
    second = gguf_folder(file)
    assert ModelConfig.from_folder(second).num_layers == 1
    assert sorted(cache.iterdir()) == sorted((first, second))


def test_settings_of_sampling_and_the_tokens_that_end_a_text_are_kept(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    content.settings |= {"general.sampling.temp": 0.6, "general.sampling.top_k": 20, "general.sampling.top_p": 0.95}
    content.settings |= {"tokenizer.ggml.eos_token_id": 7}
    folder = gguf_folder(content.write(tmp_path / "tiny.gguf"))
    said = json.loads((folder / "generation_config.json").read_text())
    assert said == {
        "eos_token_id": [7, 256],  # 256 is <|endoftext|>
        "temperature": 0.6,  # not 0.6000000238
        "top_k": 20,
        "top_p": 0.95,
        "do_sample": True,
    }


def test_yarn_is_kept(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    prefix = "qwen3.rope.scaling."
    content.settings |= {f"{prefix}type": "yarn", f"{prefix}factor": 4.0, f"{prefix}original_context_length": 128}
    config = ModelConfig.from_folder(gguf_folder(content.write(tmp_path / "tiny.gguf")))
    assert config.yarn == YarnConfig(factor=4.0, original_max_position_embeddings=128)


def test_an_embedding_model_is_known_by_its_pooling(tmp_path: Path, plain: Plain) -> None:
    content = gguf_of(plain())
    content.settings["qwen3.pooling_type"] = 3
    folder = gguf_folder(content.write(tmp_path / "tiny.gguf"))
    assert (folder / POOLING_FILE).is_file()
    assert not ModelConfig.from_folder(folder).has_output_layer


def test_only_quantised_files_are_called_quantised(tmp_path: Path, plain: Plain) -> None:
    folder = plain()
    found = {
        matrices: ModelConfig.from_folder(gguf_folder(gguf_of(folder, matrices).write(tmp_path / f"{matrices}.gguf")))
        for matrices in ("F32", "BF16", "Q8_0")
    }
    assert [config.weight_format for config in found.values()] == ["plain", "plain", "gguf"]
    assert [config.dtype for config in found.values()] == ["float32", "bfloat16", "bfloat16"]


@pytest.mark.parametrize("number", [11, 23, 99])
def test_weights_of_another_type_are_refused_by_name(tmp_path: Path, plain: Plain, number: int) -> None:
    content = gguf_of(plain())
    up = content.tensors["blk.1.ffn_up.weight"]
    content.tensors["blk.1.ffn_up.weight"] = StoredTensor(up.shape, number, up.data)
    file = content.write(tmp_path / "tiny.gguf")
    message = refusal(lambda: logits(gguf_folder(file))).message
    name = {11: "Q3_K", 23: "IQ4_XS", 99: "type 99"}[number]
    assert message.startswith(f"model.layers.1.mlp.up_proj.weight in {file} holds {name}, which is not supported; ")
    assert message.endswith(f"it must be one of {', '.join(BLOCK_TYPES)}.")


def test_tensors_that_are_missing_unknown_or_misshapen_are_named(tmp_path: Path, plain: Plain) -> None:
    whole = gguf_of(plain())
    file = tmp_path / "tiny.gguf"

    def message(**changes: StoredTensor | None) -> str:
        content = gguf_of(plain())
        for name, tensor in changes.items():
            content.tensors.pop(name, None)
            if tensor is not None:
                content.tensors[name] = tensor
        content.write(file)
        return refusal(lambda: logits(gguf_folder(file))).message

    up = whole.tensors["blk.1.ffn_up.weight"]
    assert f"{file} lack 1 tensor: model.layers.1.mlp.up_proj.weight." in message(**{"blk.1.ffn_up.weight": None})
    assert f"{file} hold unknown 1 tensor: blk.1.attn_q.bias." in message(**{"blk.1.attn_q.bias": up})
    transposed = StoredTensor((up.shape[1], up.shape[0]), up.type, up.data)
    assert "has the shape [64, 96]; config.json makes it [96, 64]" in message(**{"blk.1.ffn_up.weight": transposed})
    assert "has no tensor token_embd.weight" in message(**{"token_embd.weight": None})


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, plain: Plain, cache: Path) -> None:
    file = gguf_of(plain()).write(tmp_path / "tiny.gguf")
    cache.parent.parent.write_text("no folder")
    error = refusal(lambda: gguf_folder(file))
    assert error.message.startswith(f"The settings of {file} cannot be stored in {cache}: ")
    assert error.hint == "Set XDG_CACHE_HOME to a folder that can be written."


def _rounded(tensor: torch.Tensor, matrices: str) -> torch.Tensor:
    if matrices != "Q8_0":
        return tensor.to({"F16": torch.float16, "BF16": torch.bfloat16}[matrices]).float()
    blocks = tensor.reshape(-1, 32)
    scales = (blocks.abs().amax(1, keepdim=True) / 127).half().float()
    return ((blocks / scales).round().clamp(-127, 127) * scales).view(tensor.shape)
