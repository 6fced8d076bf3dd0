"""The limits follow from a model's shape and a machine's two speeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.offline.roofline import MachineSpeed, ModelCost, decode_limit, min_seconds, prefill_limit
from model.checkpoint.experts_config import ExpertsConfig
from testing.models.qwen3_shape import QWEN3_06B
from tests.benchmarks.measurements import COST, SPEED


def test_the_smallest_qwen3_costs_what_its_card_says() -> None:
    cost = ModelCost.of_model(QWEN3_06B, screened=False)
    assert cost.parameters == pytest.approx(596e6, rel=0.001)
    assert cost.weight_bytes == pytest.approx(1.19e9, rel=0.005)
    assert cost.flop_per_decoded_token == pytest.approx(1.19e9, rel=0.005)
    assert cost.flop_per_prefilled_token == pytest.approx(0.854e9, rel=0.001)
    assert cost.cache_bytes_per_token == 112 * 1024


def test_a_screen_halves_what_the_output_layer_costs() -> None:
    whole, screened = (ModelCost.of_model(QWEN3_06B, screened=screened) for screened in (False, True))
    head = 151_936 * 1024
    assert whole.weight_bytes - screened.weight_bytes == pytest.approx(2 * head * (1 - 260 / 512))
    assert whole.flop_per_decoded_token - screened.flop_per_decoded_token == pytest.approx(head)
    assert whole.flop_per_prefilled_token == screened.flop_per_prefilled_token


def test_eight_bit_weights_halve_what_a_step_reads() -> None:
    model = QWEN3_06B
    cost, small = (ModelCost.of_model(model, quantize, screened=False) for quantize in ("none", "int8"))
    assert small.weight_bytes == pytest.approx(cost.weight_bytes * 260 / 512)  # 256 bytes and a scale for 256 numbers
    assert replace(small, weight_bytes=cost.weight_bytes) == cost


def test_a_lone_sequence_is_bound_by_memory_and_a_large_batch_by_products() -> None:
    assert decode_limit(COST, SPEED, 1) == pytest.approx(10)  # 1,000 bytes at 10,000 a second
    assert decode_limit(COST, SPEED, 4) == pytest.approx(40)
    assert decode_limit(COST, SPEED, 1000) == pytest.approx(100)  # 1,000 operations at 100,000 a second


def test_a_long_context_is_bound_by_memory_again() -> None:
    assert decode_limit(COST, SPEED, 1000, context=20) < decode_limit(COST, SPEED, 1000)
    assert decode_limit(COST, SPEED, 1, context=100) == pytest.approx(5)  # the cache is as large as the weights


def test_a_short_prompt_waits_for_the_weights_and_a_long_one_for_products() -> None:
    assert prefill_limit(COST, SPEED, 1) == pytest.approx(10)
    assert prefill_limit(COST, SPEED, 1000) == pytest.approx(125)


def test_a_job_takes_its_products_or_its_longest_completion_whichever_is_longer() -> None:
    wide = min_seconds(COST, SPEED, input_tokens=1000, output_tokens=100, longest_output=5)
    assert wide == pytest.approx(9.0)
    deep = min_seconds(COST, SPEED, input_tokens=1, output_tokens=100, longest_output=100)
    assert deep == pytest.approx(10.0)


def test_an_untied_output_layer_counts_beside_the_embedding() -> None:
    tied = QWEN3_06B
    untied = ModelCost.of_model(replace(tied, tie_word_embeddings=False))
    assert untied.parameters - ModelCost.of_model(tied).parameters == 151_936 * 1024
    assert untied.weight_bytes == ModelCost.of_model(tied).weight_bytes


@pytest.mark.parametrize("screened", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_an_embedding_model_costs_what_its_layers_and_its_embedding_cost(tied: bool, screened: bool) -> None:
    text = replace(QWEN3_06B, tie_word_embeddings=tied)
    cost = ModelCost.of_model(replace(text, has_output_layer=False), screened=screened)
    whole, head = ModelCost.of_model(text, screened=False), 151_936 * 1024
    assert cost.parameters == ModelCost.of_model(QWEN3_06B).parameters
    assert whole.weight_bytes - cost.weight_bytes == 2 * head
    assert whole.flop_per_decoded_token - cost.flop_per_decoded_token == 2 * head
    assert whole.flop_per_prefilled_token == cost.flop_per_prefilled_token


def test_a_machine_can_do_what_it_did_in_the_better_of_two_measurements() -> None:
    assert MachineSpeed(10.0, 700.0).best_of(MachineSpeed(30.0, 500.0)) == MachineSpeed(30.0, 700.0)


def test_a_token_of_a_mixture_uses_only_its_own_experts() -> None:
    experts = ExpertsConfig(count=128, per_token=8, intermediate_size=768, normalise=True, layers=(True,) * 48)
    qwen3_30b_a3b = replace(
        QWEN3_06B,
        hidden_size=2048,
        num_layers=48,
        num_heads=32,
        num_kv_heads=4,
        tie_word_embeddings=False,
        experts=experts,
    )
    cost = ModelCost.of_model(qwen3_30b_a3b, screened=False)
    assert cost.parameters == pytest.approx(30.5e9, rel=0.002)
    embedding = 151_936 * 2048
    assert cost.flop_per_decoded_token / 2 + embedding == pytest.approx(3.35e9, rel=0.005)  # the A3B of its name
    assert cost.weight_bytes == pytest.approx(cost.flop_per_decoded_token)  # two bytes and two operations each
    assert cost.cache_bytes_per_token == 96 * 1024
