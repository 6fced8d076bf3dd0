"""The chapter's generators: with and without a cache, whole and streamed, the same text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from jobs.errors import InvalidInput
from model.generate import (
    generate_stats,
    generate_text_basic,
    generate_text_basic_cache,
    generate_text_basic_stream,
    generate_text_basic_stream_cache,
)
from model.qwen3 import Qwen3ForCausalLM
from model.rectangular_batch import RectangularBatch
from testing.models.packed_steps import CachedSequence, PackedSteps

Generate = Callable[..., torch.Tensor]
WHOLE = pytest.mark.parametrize("generate", [generate_text_basic, generate_text_basic_cache])
PROMPTS = torch.tensor([[5, 9, 200, 31], [7, 7, 7, 7]])


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_folder(tiny_folder, dtype=torch.float32)


@WHOLE
def test_only_new_ids_come_back_and_each_is_the_likeliest(model: Qwen3ForCausalLM, generate: Generate) -> None:
    new = generate(model, PROMPTS, 80)  # past a page's end
    assert new.shape == (2, 80)
    sequences = [CachedSequence([*p, *n]) for p, n in zip(PROMPTS.tolist(), new.tolist(), strict=True)]
    for row, logits in enumerate(PackedSteps(model).run(sequences)):
        assert logits[3:-1].argmax(-1).tolist() == new[row].tolist()


def test_the_cache_changes_no_token(model: Qwen3ForCausalLM) -> None:
    assert torch.equal(generate_text_basic(model, PROMPTS, 40), generate_text_basic_cache(model, PROMPTS, 40))


def test_each_step_has_the_bits_of_the_engines_prefill_and_decode(model: Qwen3ForCausalLM) -> None:
    batch, steps = RectangularBatch(model, num_rows=2, max_tokens=12), PackedSteps(model)
    sequences = [CachedSequence(prompt) for prompt in PROMPTS.tolist()]
    fed, num_cached = PROMPTS, 0
    for is_decode in (False, True, True, True):
        logits = batch.next_logits(fed, start=num_cached)
        assert torch.equal(logits, torch.cat(steps.run(sequences, is_decode=is_decode, last_only=True)))
        num_cached += fed.shape[1]
        fed = logits.argmax(-1, keepdim=True)
        for sequence, token_id in zip(sequences, fed.flatten().tolist(), strict=True):
            sequence.token_ids.append(token_id)


def test_streams_yield_the_same_ids_one_step_at_a_time(model: Qwen3ForCausalLM) -> None:
    expected = generate_text_basic(model, PROMPTS, 12)
    for stream in (generate_text_basic_stream, generate_text_basic_stream_cache):
        steps = list(stream(model, PROMPTS, 12))
        assert [tuple(step.shape) for step in steps] == [(2, 1)] * 12
        assert torch.equal(torch.cat(steps, dim=1), expected)


@WHOLE
def test_one_row_stops_before_its_end_token(model: Qwen3ForCausalLM, generate: Generate) -> None:
    free = generate(model, PROMPTS[:1], 20)[0].tolist()
    end = free[6]
    assert generate(model, PROMPTS[:1], 20, end)[0].tolist() == free[: free.index(end)]


@WHOLE
def test_several_rows_stop_only_when_all_end_in_the_same_step(model: Qwen3ForCausalLM, generate: Generate) -> None:
    first, second = generate(model, PROMPTS, 20).tolist()
    of_one_row = next(token for step, token in enumerate(first) if token != second[step])
    assert generate(model, PROMPTS, 20, of_one_row).tolist() == [first, second]
    twice = PROMPTS[:1].repeat(2, 1)
    assert generate(model, twice, 20, first[4]).shape == (2, first.index(first[4]))


@WHOLE
def test_no_new_tokens_are_an_empty_answer(model: Qwen3ForCausalLM, generate: Generate) -> None:
    assert generate(model, PROMPTS, 0).shape == (2, 0)


@WHOLE
def test_what_does_not_fit_the_context_is_refused(model: Qwen3ForCausalLM, generate: Generate) -> None:
    assert generate(model, torch.ones(1, 508, dtype=torch.long), 4).shape == (1, 4)
    with pytest.raises(InvalidInput, match="513 tokens; this model takes at most 512"):
        generate(model, torch.ones(1, 509, dtype=torch.long), 4)
    with pytest.raises(InvalidInput, match="empty"):
        generate(model, torch.ones(1, 0, dtype=torch.long), 4)


class _Spelling:
    def decode(self, ids: Sequence[int], /) -> str:
        return " ".join(f"<{token_id}>" for token_id in ids)


def test_statistics_name_time_speed_memory_and_text() -> None:
    out = io.StringIO()
    generate_stats(torch.tensor([[4, 8, 15]]), _Spelling(), 10.0, 12.0, file=out)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["Time: 2.00 s", "1.5 tokens/s"]
    assert lines[2].startswith("Peak CPU memory: ")
    assert 0.01 < float(lines[2].split()[-2]) < 1000
    assert lines[-1] == "<4> <8> <15>"
