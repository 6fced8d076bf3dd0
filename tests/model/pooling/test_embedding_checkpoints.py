"""Checkpoints of embedding models load as they are published: bare names, and no output layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jobs.errors import ModelUnusable
from model.qwen3 import Qwen3ForCausalLM
from model.text.tokenizer import Tokenizer
from testing.models.byte_level_tokenizer import END_OF_TEXT
from testing.models.embedding_checkpoint import write_embedding_checkpoint
from testing.models.packed_steps import CachedSequence, PackedSteps
from testing.models.tiny_checkpoint import write_tiny_checkpoint

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def load(folder: Path, vocab_limit: int | None = None) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_folder(folder, dtype=torch.float32, vocab_limit=vocab_limit)


@pytest.mark.parametrize("tied", [True, False])
def test_bare_names_give_the_layers_of_the_whole_model(tmp_path: Path, tied: bool) -> None:
    whole = load(write_tiny_checkpoint(tmp_path / "whole", tie_word_embeddings=tied))
    bare = load(write_embedding_checkpoint(tmp_path / "bare", tie_word_embeddings=tied))
    assert (whole.generates, bare.generates) == (True, False)
    assert bare.weights.screen is None
    for one, other in zip(whole.weights.layers, bare.weights.layers, strict=True):
        assert torch.equal(one.qkv.to_dense(), other.qkv.to_dense())
    assert torch.equal(whole.weights.final_norm, bare.weights.final_norm)


def test_a_language_model_with_bare_names_generates(tmp_path: Path) -> None:
    folder = write_embedding_checkpoint(tmp_path / "bare")
    (folder / "1_Pooling" / "config.json").unlink()
    (expected,) = PackedSteps(load(write_tiny_checkpoint(tmp_path / "whole"))).run([CachedSequence(IDS)])
    (found,) = PackedSteps(load(folder)).run([CachedSequence(IDS)])
    assert torch.equal(found, expected)


def test_an_untied_language_model_with_bare_names_lacks_its_output_layer(tmp_path: Path) -> None:
    folder = write_embedding_checkpoint(tmp_path, tie_word_embeddings=False)
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelUnusable, match=r"lack 1 tensor: lm_head\.weight"):
        load(folder)


def test_an_embedding_model_may_have_fewer_rows_than_its_tokenizer_has_tokens(tmp_path: Path) -> None:
    assert load(write_embedding_checkpoint(tmp_path), vocab_limit=400).valid_vocab == 320


def test_the_tokenizer_tells_which_tokens_end_a_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(write_embedding_checkpoint(tmp_path))
    assert tokenizer.tokens_around() == ((), (END_OF_TEXT,))
    assert END_OF_TEXT not in tokenizer.encode("a text")
