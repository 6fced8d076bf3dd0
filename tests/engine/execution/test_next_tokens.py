"""Tokens are the same with a screen of the output layer and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.execution.next_tokens import NextTokens
from engine.scheduling.sequence import Sampled
from model.ops.packed_weight import rows_of
from model.qwen3 import Qwen3ForCausalLM
from model.sampling.logprobs import LogSoftmax
from model.sampling.output_screen import OutputScreen
from model.sampling.sampling import SamplingRow
from model.sampling.token_masks import TokenMasks
from testing.models.tiny_checkpoint import write_tiny_checkpoint

VOCAB = 9001


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory, built_kernels: None) -> Qwen3ForCausalLM:
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("model"), vocab_size=VOCAB)
    model = Qwen3ForCausalLM.from_folder(folder, dtype=torch.bfloat16)
    head = rows_of(model.weights.embedding, torch.arange(VOCAB))
    packed = torch.ops.qwen_batch_cpu.dot_pack(head)  # a machine with AMX would pack it for tiles
    screen = OutputScreen.of(head, packed)
    return Qwen3ForCausalLM(model.config, replace(model.weights, lm_head=packed, screen=screen))


@pytest.fixture
def whole(screened: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(screened.config, replace(screened.weights, screen=None))


def hidden_states(model: Qwen3ForCausalLM, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(rows, model.config.hidden_size, generator=generator).bfloat16()


class Counted(NextTokens):
    """Counts the steps that a screen was enough for."""

    screened = 0

    def _largest(
        self, hidden: torch.Tensor, rows: Sequence[SamplingRow], masks: TokenMasks | None
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        largest = super()._largest(hidden, rows, masks)
        self.screened += largest is not None
        return largest


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7, "top_k": 3},
        {"temperature": 0.7, "top_k": 4, "top_p": 0.8},
        {"temperature": 1.5, "top_k": 4, "min_p": 0.2},
        {"temperature": 0.7, "top_k": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [1, 40])
def test_a_screen_changes_no_choice(
    screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM, settings: dict[str, float], rows: int
) -> None:
    hidden = hidden_states(screened, max(rows, 2))
    tokens = Counted(screened)
    for step in range(20):
        sampled = [SamplingRow(**settings, seed=row, position=step) for row in range(rows)]  # type: ignore[arg-type]
        assert tokens.choose(hidden, sampled) == NextTokens(whole).choose(hidden, sampled)
    assert tokens.screened == 20


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.7, "top_k": 4}, {"temperature": 1.5, "top_k": 3, "min_p": 0.2}], ids=str
)
@pytest.mark.parametrize("few", [False, True])
def test_a_screen_with_masks_changes_no_choice(
    screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM, settings: dict[str, float], few: bool
) -> None:
    hidden, tokens = hidden_states(screened, 40), Counted(screened)
    masked = torch.arange(0, 40, 3)
    bits = torch.randint(-(2**31), 2**31, (len(masked), -(-VOCAB // 32)), generator=torch.Generator().manual_seed(1))
    if few:  # two to five tokens in all
        bits[:, :-2] = 0
        bits[:, -2] &= 0b100001
        bits[:, -1] = 0b1001
    masks = TokenMasks(masked, bits.int())
    allowed = masks.allowed(VOCAB)
    for step in range(20):
        sampled = [SamplingRow(**settings, seed=row, position=step) for row in range(40)]  # type: ignore[arg-type]
        chosen = tokens.choose(hidden, sampled, masks)
        assert chosen == NextTokens(whole).choose(hidden, sampled, masks)
        assert allowed[torch.arange(len(masked)), torch.tensor(chosen)[masked]].all()
        free = tokens.choose(hidden, sampled)
        assert [chosen[row] for row in range(40) if row % 3] == [free[row] for row in range(40) if row % 3]
    assert tokens.screened == 40


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 2.0},
        {"temperature": 1.0, "top_p": 0.9},
        {"temperature": 1.5, "min_p": 0.1},
        {"temperature": 1.0, "top_k": 500},
        {"temperature": 1.0, "top_k": 5000, "top_p": 0.7},
    ],
    ids=str,
)
@pytest.mark.parametrize("allowed", [0, 1, 5, 64, 65])
def test_a_screen_is_enough_for_any_settings_where_few_tokens_are_allowed(
    screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM, settings: dict[str, float], allowed: int
) -> None:
    hidden, tokens = hidden_states(screened, 8), Counted(screened)
    generator = torch.Generator().manual_seed(allowed)
    bits = np.zeros((4, -(-VOCAB // 32) * 4), np.uint8)
    for row in bits:
        ids = np.arange(allowed) + int(torch.randint(VOCAB - allowed, (), generator=generator))
        np.bitwise_or.at(row, ids // 8, 1 << (ids % 8).astype(np.uint8))
    masks = TokenMasks(torch.tensor([0, 2, 3, 6]), torch.from_numpy(bits.view(np.int32)))
    for step in range(20):
        rows = [SamplingRow(**settings, seed=row, position=step) for row in range(8)]  # type: ignore[arg-type]
        rows = [row if index in masks.rows else SamplingRow() for index, row in enumerate(rows)]
        assert tokens.choose(hidden, rows, masks) == NextTokens(whole).choose(hidden, rows, masks)
    assert tokens.screened == (20 if allowed <= 64 else 0)


def test_with_a_screen_a_row_gets_its_own_log_probabilities(
    screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM
) -> None:
    hidden, tokens = hidden_states(screened, 4), Counted(screened)
    rows = [SamplingRow(), SamplingRow(), SamplingRow(logprobs=3), SamplingRow()]
    assert tokens.choose(hidden, rows) == NextTokens(whole).choose(hidden, rows)
    assert tokens.screened == 1


def test_rows_of_several_kinds_share_a_screen(screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM) -> None:
    hidden, tokens = hidden_states(screened, 3), Counted(screened)
    rows = [SamplingRow(), SamplingRow(temperature=1.0, top_k=4, seed=5), SamplingRow(temperature=0.5, top_k=2)]
    assert tokens.choose(hidden, rows) == NextTokens(whole).choose(hidden, rows)
    assert tokens.screened == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 1.0, "top_p": 0.9},
        {"temperature": 1.0, "top_k": 500},
        {"presence_penalty": 1.0, "output_ids": (1, 2)},
        {"banned_ids": (3,)},
    ],
    ids=str,
)
def test_a_row_that_may_take_any_token_gets_all_logits(
    screened: Qwen3ForCausalLM, whole: Qwen3ForCausalLM, settings: dict[str, float]
) -> None:
    hidden, tokens = hidden_states(screened, 2), Counted(screened)
    rows = [SamplingRow(), SamplingRow(**settings)]  # type: ignore[arg-type]
    assert tokens.choose(hidden, rows) == NextTokens(whole).choose(hidden, rows)
    assert tokens.screened == 0


def test_where_too_many_logits_lie_close_together_the_screen_rests_for_a_while(screened: Qwen3ForCausalLM) -> None:
    hidden, tokens = hidden_states(screened, 2), Counted(screened)
    assert tokens.choose(torch.zeros_like(hidden), [SamplingRow()] * 2) == [0, 0]
    steps = 0
    while tokens.screened == 0:
        tokens.choose(hidden, [SamplingRow()] * 2)
        steps += 1
    assert steps == 33


def test_a_loaded_model_has_a_screen_where_its_output_layer_is_multiplied_by_dot_products(
    tmp_path: Path, built_kernels: None
) -> None:
    folder = write_tiny_checkpoint(tmp_path, vocab_size=VOCAB)
    on_tiles = torch.ops.qwen_batch_cpu.amx_available()
    for dtype, quantize in ((torch.bfloat16, "none"), (torch.bfloat16, "int8"), (torch.float32, "none")):
        model = Qwen3ForCausalLM.from_folder(folder, dtype=dtype, quantize=quantize)  # type: ignore[arg-type]
        expected = dtype == torch.bfloat16 and quantize == "none" and not on_tiles
        assert (model.weights.screen is not None) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["settings", "masks"])
def test_what_changes_the_choice_of_a_token_changes_no_log_probability(
    tmp_path: Path, dtype: torch.dtype, masked: bool
) -> None:
    model = Qwen3ForCausalLM.from_folder(write_tiny_checkpoint(tmp_path), dtype=dtype)
    hidden = hidden_states(model, 2).to(dtype)
    untouched = LogSoftmax.of(model.logits(hidden), 3)
    best = untouched.top_ids[:, 0].tolist()
    masks = TokenMasks(torch.tensor([0]), torch.full((1, 10), 0b0110, dtype=torch.int32)) if masked else None
    rows = [
        SamplingRow(logprobs=3) if masked else SamplingRow(logprobs=3, bias=((7, 90.0),)),
        SamplingRow(logprobs=3, banned_ids=(best[1],)),
    ]
    for row, outcome in enumerate(NextTokens(model).choose(hidden, rows, masks)):
        assert isinstance(outcome, Sampled)
        assert outcome.logprobs is not None
        assert outcome.token_id != best[row]
        own = untouched.of_tokens(torch.full((2, 1), outcome.token_id))
        assert outcome.logprobs.own == own[row].item()
        assert outcome.logprobs.top_ids == untouched.top_ids[row].to(torch.int32).numpy().tobytes()
        assert outcome.logprobs.top == untouched.of_likeliest()[row].numpy().tobytes()
