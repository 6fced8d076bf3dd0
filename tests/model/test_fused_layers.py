"""The layers in one C++ call against the layer in PyTorch: the same roundings, and bits that a row owes to no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.fused_layers import FusedLayers, can_fuse
from model.ops.linear import Quantization
from model.qwen3 import Qwen3ForCausalLM
from testing.models.packed_steps import CachedSequence, PackedSteps, ragged_prompts
from testing.models.tiny_checkpoint import TINY, write_tiny_checkpoint

NEW_TOKENS = 12
PAGE_SIZE = 64
LONG = 700  # rows for which every loop of the layer is shared between threads

LoadModel = Callable[..., Qwen3ForCausalLM]

# Both kinds of weights with one thread, and one kind with each other number of them.
EACH_NUMBER_OF_THREADS = pytest.mark.parametrize(
    ("threads", "quantize"),
    [
        *((1, "none"), (1, "int8"), (2, "int8"), (3, "none")),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, "none"), (3, "int8"))),
    ],
    indirect=["threads"],
)


@pytest.fixture
def load(tmp_path: Path, built_kernels: None) -> LoadModel:
    """A model of one layer in bfloat16 by default, so that differences cannot add up."""

    def load(dtype: torch.dtype = torch.bfloat16, quantize: Quantization = "none", **shape: int) -> Qwen3ForCausalLM:
        folder = write_tiny_checkpoint(tmp_path / "model", **({"num_hidden_layers": 1} | shape))
        return Qwen3ForCausalLM.from_folder(folder, dtype=dtype, quantize=quantize)

    return load


def fused(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    assert can_fuse(model.weights.layers)
    return Qwen3ForCausalLM(model.config, model.weights, layers_fn=FusedLayers(model.weights.layers))


@pytest.mark.parametrize(
    "shape",
    [{}, {"hidden_size": 1024, "head_dim": 128, "intermediate_size": 3072, "num_attention_heads": 16}],
    ids=["tiny", "as wide as 0.6B"],
)
@pytest.mark.parametrize("quantize", ["none", "int8", "int4"])
def test_hidden_states_and_cache_are_those_of_the_plain_layer(
    load: LoadModel, shape: dict[str, int], quantize: Quantization
) -> None:
    model = load(quantize=quantize, **shape)
    plain, ours = PackedSteps(model), PackedSteps(fused(model))
    prompts = ragged_prompts(9, longest=80, vocab_size=TINY["vocab_size"])
    for steps in (plain, ours):
        steps.generate([CachedSequence(list(prompt)) for prompt in prompts], 1)
    # A float32 sum in another order moves a rounding here and there, by one place of bfloat16's eight bits.
    expected, found = plain.cache.layers[0], ours.cache.layers[0]
    for half in range(2):  # keys, values
        assert (expected[:, half] != found[:, half]).float().mean() < 0.01
        torch.testing.assert_close(found[:, half], expected[:, half], atol=0.02, rtol=0.01)
    for expected_logits, logits in zip(
        plain.run([CachedSequence(prompts[0])]), ours.run([CachedSequence(prompts[0])]), strict=True
    ):
        torch.testing.assert_close(logits, expected_logits, atol=0.05, rtol=0.05)


def test_values_are_rounded_where_the_plain_layer_rounds_them(load: LoadModel) -> None:
    model = load()
    prompts = ragged_prompts(9, longest=80, vocab_size=TINY["vocab_size"])
    plain, ours = (
        torch.cat(PackedSteps(each).run([CachedSequence(list(prompt)) for prompt in prompts]))
        for each in (model, fused(model))
    )
    # Sums in another order change one logit in a hundred. A rounding that is left out changes most of them.
    assert (plain != ours).float().mean() < 0.1


@EACH_NUMBER_OF_THREADS
@pytest.mark.parametrize("count", [20, 80])  # 80 go in halves, one of which attends beside the products of the other
def test_a_sequence_has_the_same_bits_alone_and_among_others(
    load: LoadModel, threads: int, count: int, quantize: Quantization
) -> None:
    model = fused(load(num_hidden_layers=3, quantize=quantize))
    prompts = ragged_prompts(count, longest=150, vocab_size=TINY["vocab_size"])
    together = PackedSteps(model).generate([CachedSequence(list(prompt)) for prompt in prompts], NEW_TOKENS)
    for row in (0, 7, 19, count - 1):
        (alone,) = PackedSteps(model).generate([CachedSequence(list(prompts[row]))], NEW_TOKENS)
        assert torch.equal(alone, together[row]), f"row {row} with {threads} threads"


@EACH_NUMBER_OF_THREADS
@pytest.mark.parametrize(
    ("decoding", "cached"),
    [(3, 64), (25, 64), (80, 140)],
    ids=["not in halves", "only prompts in the second half", "both kinds in the second half"],
)
def test_a_step_that_decodes_and_prefills_gives_the_bits_of_two_steps(
    load: LoadModel, decoding: int, cached: int, threads: int, quantize: Quantization
) -> None:
    model = fused(load(num_hidden_layers=3, quantize=quantize))
    prompts = ragged_prompts(decoding + 3, longest=150, vocab_size=TINY["vocab_size"])
    apart, together = PackedSteps(model), PackedSteps(model)
    found = []
    for steps in (apart, together):
        old = [CachedSequence(list(prompt)) for prompt in prompts[:decoding]]
        new = [CachedSequence(list(prompt)) for prompt in prompts[decoding:]]
        steps.run(old)
        steps.run(new, most=cached)  # the rest of the last one is a chunk of its own
        for sequence in old:
            sequence.token_ids.append(5)
        new = [sequence for sequence in new if sequence.num_cached < len(sequence.token_ids)]
        if steps is apart:
            found.append([*steps.run(old, is_decode=True), *steps.run(new)])
        else:
            found.append(steps.run([*old, *new], num_decodes=decoding))
    prompt_rows = sum(map(len, found[0])) - decoding
    assert prompt_rows > decoding if cached == 64 else 0 < prompt_rows < decoding  # as many rows go to each half
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@EACH_NUMBER_OF_THREADS
@pytest.mark.parametrize("decoding", [0, 3, 25, 80])  # 25 and 80 go in halves
def test_last_tokens_have_the_same_bits_when_only_they_are_wanted(
    load: LoadModel, decoding: int, threads: int, quantize: Quantization
) -> None:
    model = fused(load(num_hidden_layers=3, quantize=quantize))
    prompts = ragged_prompts(decoding + 9, longest=150, vocab_size=TINY["vocab_size"])
    found = []
    for last_only in (False, True):
        steps = PackedSteps(model)
        old = [CachedSequence(list(prompt)) for prompt in prompts[:decoding]]
        new = [CachedSequence(list(prompt)) for prompt in prompts[decoding:]]
        if old:
            steps.run(old)
        for sequence in old:
            sequence.token_ids.append(5)
        logits = steps.run([*old, *new], most=100, num_decodes=decoding, last_only=last_only)
        rest = steps.run(new[-1:], last_only=last_only)  # a chunk over keys and values of the first
        found.append([(rows[-1], len(rows)) for rows in (*logits, *rest)])
    among_all, alone = found
    assert max(count for _, count in among_all) == 100
    assert {count for _, count in alone} == {1}
    assert all(torch.equal(expected, row) for (expected, _), (row, _) in zip(among_all, alone, strict=True))


@EACH_NUMBER_OF_THREADS
@pytest.mark.parametrize("intermediate_size", [TINY["intermediate_size"], 256])  # 256: products gate what they made
def test_a_chunk_shared_between_threads_has_the_bits_of_one_that_is_not(
    load: LoadModel, intermediate_size: int, threads: int, quantize: Quantization
) -> None:
    model = fused(load(quantize=quantize, max_position_embeddings=LONG, intermediate_size=intermediate_size))
    prompt = ragged_prompts(1, longest=LONG, vocab_size=TINY["vocab_size"])[0]
    prompt += [1] * (LONG - len(prompt))
    whole, pieces = CachedSequence(list(prompt)), CachedSequence(list(prompt))
    steps = PackedSteps(model)
    (together,) = steps.run([whole])
    in_parts = [steps.run([pieces], most=64)[0] for _ in range(-(-LONG // 64))]
    assert torch.equal(torch.cat(in_parts), together), f"with {threads} threads"


def test_layers_one_by_one_refuse_a_step_that_decodes_and_prefills(load: LoadModel) -> None:
    sequences = [CachedSequence([1]), CachedSequence([1, 2])]
    with pytest.raises(ValueError, match="1 of 2 sequences decode"):
        PackedSteps(load()).run(sequences, num_decodes=1)


def test_what_it_cannot_run_is_known_beforehand(load: LoadModel) -> None:
    assert not can_fuse(load(torch.float32).weights.layers)
    assert not can_fuse(load(head_dim=48).weights.layers)


@pytest.mark.parametrize("count", [2, 80])
def test_a_slot_outside_the_cache_is_refused(load: LoadModel, count: int) -> None:
    model = fused(load())
    steps = PackedSteps(model)
    sequences = [CachedSequence([1]) for _ in range(count)]
    metadata = steps._metadata(sequences, [1] * count, 0, num_decodes=count)
    metadata.slots[0] = steps.cache.num_pages * steps.page_size
    with pytest.raises(RuntimeError, match="a slot is outside the cache"):
        model.forward(torch.ones(count, dtype=torch.int64), metadata, steps.cache)


def test_weights_are_given_back_with_the_layers_that_read_them(load: LoadModel) -> None:
    model = load()
    handle = FusedLayers(model.weights.layers).handle  # nothing holds the object after this line
    layers = FusedLayers(model.weights.layers)
    assert layers.handle > handle
    with pytest.raises(RuntimeError, match="are not prepared, or were released"):
        _run_prepared(model, handle)
    _run_prepared(model, layers.handle)


def test_a_cache_of_another_model_is_refused(load: LoadModel) -> None:
    model = load()
    layers = FusedLayers(model.weights.layers)
    with pytest.raises(RuntimeError, match="the caches belong to a model of other sizes"):
        _run_prepared(model, layers.handle, heads=2 * model.config.num_kv_heads)
    with pytest.raises(RuntimeError, match="every layer has a cache"):
        _run_prepared(model, layers.handle, num_caches=2)


def _run_prepared(model: Qwen3ForCausalLM, handle: int, heads: int | None = None, num_caches: int = 1) -> None:
    """Decode one token."""
    config, indices = model.config, torch.tensor([0, 1], dtype=torch.int32)
    shape = (2, 2, heads or config.num_kv_heads, PAGE_SIZE, config.head_dim)
    torch.ops.qwen_batch_cpu.decoder_layers(
        torch.zeros(1, config.hidden_size, dtype=torch.bfloat16),
        handle,
        [torch.zeros(shape, dtype=torch.bfloat16) for _ in range(num_caches)],
        model.cos[:1],
        model.sin[:1],
        torch.tensor([PAGE_SIZE]),
        indices,
        indices[1:],
        indices[1:, None],
        1,
        False,
    )
