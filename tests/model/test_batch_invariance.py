"""A sequence's bits do not depend on its neighbours, on padding, or on how its prompt was cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.ops.linear import Quantization
from model.qwen3 import Qwen3ForCausalLM, rms_norm
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, write_tiny_checkpoint

NUMBERS = pytest.mark.parametrize(
    ("dtype", "quantize"),
    [(torch.float32, "none"), (torch.bfloat16, "none"), (torch.bfloat16, "int8"), (torch.bfloat16, "int4")],
    ids=["float32", "bfloat16", "int8", "int4"],
)


FOLDERS = pytest.mark.parametrize(
    ("kernels", "folder"),
    [
        ("C++ kernels", "tiny_folder"),
        ("C++ kernels", "wide_folder"),
        ("plain PyTorch", "tiny_folder"),
        pytest.param("plain PyTorch", "wide_folder", marks=pytest.mark.slow),
    ],
    indirect=True,
)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(request.param)
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("hidden_size", [64, 1024, 2560, 5120, 8192])
def test_a_row_is_normalised_to_the_same_bits_alone(dtype: torch.dtype, hidden_size: int, threads: int) -> None:
    rows, weight = torch.randn(70, hidden_size).to(dtype), torch.randn(hidden_size).to(dtype)
    together = rms_norm(rows, weight, 1e-6)
    for count in (1, 2, 64):
        assert torch.equal(rms_norm(rows[:count], weight, 1e-6), together[:count]), f"with {threads} threads"


@FOLDERS
@NUMBERS
def test_a_sequence_in_a_batch_has_the_bits_it_has_alone(
    kernels: str, folder: Path, dtype: torch.dtype, quantize: Quantization
) -> None:
    model = Qwen3ForCausalLM.from_folder(folder, dtype=dtype, quantize=quantize)
    prompts = ragged_prompts(24, longest=70, vocab_size=TINY["vocab_size"])

    together = PackedSteps(model).generate([CachedSequence(list(p)) for p in prompts], 6)

    for row in (0, 1, 11, 23):
        (alone,) = PackedSteps(model, seed=row + 1).generate([CachedSequence(list(prompts[row]))], 6)
        assert torch.equal(alone, together[row])


@FOLDERS
@NUMBERS
def test_a_prompt_cut_into_chunks_has_the_bits_of_the_whole(
    kernels: str, folder: Path, dtype: torch.dtype, quantize: Quantization
) -> None:
    model = Qwen3ForCausalLM.from_folder(folder, dtype=dtype, quantize=quantize)
    prompts = ragged_prompts(5, longest=90, vocab_size=TINY["vocab_size"])
    whole = PackedSteps(model).run([CachedSequence(list(p)) for p in prompts])

    for chunk in (7, 16, 33):
        steps = PackedSteps(model)
        sequences = [CachedSequence(list(p)) for p in prompts]
        for sequence, expected in zip(sequences, whole, strict=True):
            parts = []
            while sequence.num_cached < len(sequence.token_ids):
                parts += steps.run([sequence], most=chunk)
            assert torch.equal(torch.cat(parts), expected)


@pytest.mark.usefixtures("kernels")
@NUMBERS
def test_spare_columns_of_the_page_tables_change_nothing(
    tiny_folder: Path, dtype: torch.dtype, quantize: Quantization
) -> None:
    model = Qwen3ForCausalLM.from_folder(tiny_folder, dtype=dtype, quantize=quantize)
    prompts = ragged_prompts(5, longest=40, vocab_size=TINY["vocab_size"])
    narrow, wide = PackedSteps(model), PackedSteps(model)
    for is_decode in (False, True):
        results = []
        for steps, spare in ((narrow, 0), (wide, 9)):
            sequences = [CachedSequence([*p, 5]) for p in prompts]
            steps.run(sequences, most=None if is_decode else 3, spare_columns=spare)
            for sequence in sequences:
                sequence.token_ids.append(7)
            results.append(torch.cat(steps.run(sequences, spare_columns=spare, is_decode=is_decode)))
        assert torch.equal(*results)


@pytest.mark.usefixtures("kernels")
def test_decoding_with_the_cache_gives_the_logits_of_a_full_forward(tiny_folder: Path) -> None:
    model = Qwen3ForCausalLM.from_folder(tiny_folder, dtype=torch.float32)
    sequences = [CachedSequence(p) for p in ragged_prompts(6, longest=40, vocab_size=TINY["vocab_size"])]
    starts = [len(s.token_ids) for s in sequences]
    decoded = PackedSteps(model).generate(sequences, 30)
    full = PackedSteps(model).run([CachedSequence(s.token_ids) for s in sequences])
    for start, of_cache, of_all in zip(starts, decoded, full, strict=True):
        torch.testing.assert_close(of_cache, of_all[start - 1 :], atol=1e-4, rtol=0)
        assert of_cache.argmax(-1).tolist() == of_all[start - 1 :].argmax(-1).tolist()


@pytest.mark.usefixtures("kernels")
def test_ids_beyond_the_tokenizer_get_no_logits_and_the_others_stay(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    prompts = [[1, 2, 3], [4]]
    whole = PackedSteps(Qwen3ForCausalLM.from_folder(tmp_path, dtype=torch.float32)).run(
        [CachedSequence(list(p)) for p in prompts]
    )
    limited = Qwen3ForCausalLM.from_folder(tmp_path, dtype=torch.float32, vocab_limit=300)
    assert limited.valid_vocab == 300
    for rows, expected in zip(PackedSteps(limited).run([CachedSequence(list(p)) for p in prompts]), whole, strict=True):
        torch.testing.assert_close(rows, expected[:, :300])
