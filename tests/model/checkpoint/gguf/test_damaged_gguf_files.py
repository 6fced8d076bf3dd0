"""A GGUF file that is damaged, hostile or of another model is refused in one line, before much is read."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import ModelUnusable
from model.checkpoint.gguf.folder import gguf_folder
from model.checkpoint.gguf.header import read_header
from model.checkpoint.gguf.weights import weights_of
from testing.models.gguf_checkpoint import gguf_of
from tests.model.checkpoint.gguf.conftest import logits, refusal

Plain = Callable[..., Path]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "GGUF"}')
    assert refusal(lambda: gguf_folder(file)).message == f"{file} is no GGUF file."


@pytest.mark.parametrize("version", [1, 4, 3 << 24])  # the last one is version 3 of a big-endian machine
def test_another_version_is_refused(tmp_path: Path, version: int) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, 0))
    assert (
        f"is a GGUF file of version {version}; versions 2 and 3 are supported"
        in refusal(lambda: read_header(file)).message
    )


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen35", "qwen3vl"])
def test_a_model_of_another_family_is_refused_by_name(tmp_path: Path, plain: Plain, architecture: str) -> None:
    content = gguf_of(plain())
    content.settings["general.architecture"] = architecture
    file = content.write(tmp_path / "tiny.gguf")
    assert refusal(lambda: gguf_folder(file)).message == (
        f"{file} holds a model of the architecture {architecture!r}; only 'qwen3' and 'qwen3moe' are supported."
    )


@pytest.mark.parametrize(
    ("kind", "what"), [(1, "an embedding model with pooling of type 1"), (4, "a model that ranks texts")]
)
def test_models_with_another_kind_of_pooling_are_refused(tmp_path: Path, plain: Plain, kind: int, what: str) -> None:
    content = gguf_of(plain())
    content.settings["qwen3.pooling_type"] = kind
    file = content.write(tmp_path / "tiny.gguf")
    assert what in refusal(lambda: gguf_folder(file)).message


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.key_length", "rope.freq_base"])
def test_a_size_that_is_missing_is_named(tmp_path: Path, plain: Plain, key: str) -> None:
    content = gguf_of(plain())
    del content.settings[f"qwen3.{key}"]
    file = content.write(tmp_path / "tiny.gguf")
    assert refusal(lambda: gguf_folder(file)).message == f"{file} has no setting qwen3.{key}."


@pytest.mark.parametrize(("key", "value"), [("block_count", 2**31), ("attention.head_count", [4, 4])])
def test_an_impossible_size_is_refused(tmp_path: Path, plain: Plain, key: str, value: object) -> None:
    content = gguf_of(plain())
    content.settings[f"qwen3.{key}"] = value
    refusal(lambda: logits(gguf_folder(content.write(tmp_path / "tiny.gguf"))))


def test_a_file_that_was_cut_off_says_where(tmp_path: Path, plain: Plain) -> None:
    file = gguf_of(plain()).write(tmp_path / "tiny.gguf")
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    message = refusal(lambda: gguf_folder(file)).message
    assert message.endswith(f"ends at byte {len(whole):,}, and the file has {len(whole) - 100:,} bytes.")


def test_counts_beyond_the_files_size_take_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    announced = {
        "tensors": struct.pack("<IQQ", 3, 2**60, 0),
        "settings": struct.pack("<IQQ", 3, 0, 2**60),
        "a text": struct.pack("<IQQQ", 3, 0, 1, 2**40) + bytes(20),
        "numbers": struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**40),
        "texts": struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**40),
    }
    tracemalloc.start()
    for header in announced.values():
        file.write_bytes(b"GGUF" + header)
        assert "announces" in refusal(lambda: read_header(file)).message
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_lists_of_lists_and_unknown_types_of_settings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    for value in (struct.pack("<IIQ", 9, 9, 1) + bytes(12), struct.pack("<I", 77) + bytes(12)):
        file.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + value)
        refusal(lambda: read_header(file))


def test_a_header_that_is_damaged_anywhere_is_read_or_refused(tmp_path: Path, plain: Plain) -> None:
    file = gguf_of(plain(num_hidden_layers=1)).write(tmp_path / "tiny.gguf")
    whole = file.read_bytes()
    end = min(tensor.offset for tensor in read_header(file).tensors)
    draw = random.Random(0)
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        if draw.random() < 0.3:
            damaged = damaged[: draw.randrange(end)]
        else:
            for _ in range(draw.choice((1, 3))):
                damaged[draw.randrange(end)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        file.write_bytes(damaged)
        outcomes.add(outcome(file))
    assert outcomes == {"read", f"refused, {file} named"}


def outcome(file: Path) -> str:
    try:
        list(weights_of(file))
        gguf_folder(file)
    except ModelUnusable as error:
        return f"refused, {file if str(file) in error.message else 'nothing'} named"
    return "read"
