"""Upper bounds from a machine's memory and arithmetic: the roofline of Williams, Waterman and Patterson (2009)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from engine.config import QuantizeName
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import EMBEDDING, LM_HEAD, expected_shapes, quantization_of_output
from model.ops.linear import quantised_bytes

BFLOAT16_BYTES = 2


@dataclass(frozen=True)
class MachineSpeed:
    """Measured speeds of a machine, not the figures of its data sheet."""

    read_bytes_per_second: float  # memory, all cores together
    flop_per_second: float  # matrix products in the faster of bfloat16 and float32, all cores together

    def best_of(self, other: MachineSpeed) -> MachineSpeed:
        """Return the better of two measurements. A temporary slowdown does not lower a machine's maximum."""
        return MachineSpeed(
            max(self.read_bytes_per_second, other.read_bytes_per_second),
            max(self.flop_per_second, other.flop_per_second),
        )


@dataclass(frozen=True)
class ModelCost:
    """Cost of a model. Attention's own products are left out, so that the limits are never too low.

    A token of a mixture of experts needs only its own experts. A step of several tokens reads more of them, which the
    limits leave out, too.
    """

    parameters: int
    weight_bytes: int  # read by every step: all matrices and the output layer, whose 8-bit screen may be enough
    flop_per_decoded_token: float
    flop_per_prefilled_token: float  # after the last layer's keys and values, only a prompt's last token continues
    cache_bytes_per_token: int  # keys and values of all layers

    @classmethod
    def of_model(cls, config: ModelConfig, quantize: QuantizeName = "none", *, screened: bool = True) -> ModelCost:
        """Count the cost from the shapes of the model's tensors.

        Args:
            config: The model.
            quantize: Quantisation of the weights.
            screened: True if the output layer's 8-bit screen selects the few logits to compute
                (`model.sampling.output_screen`). The screen takes half the time of the layer.
        """
        shapes = {name: shape for name, shape in expected_shapes(config).items() if len(shape) == 2}
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        head = sizes.pop(LM_HEAD)
        head_bytes = _bytes_of([shapes[LM_HEAD]], "int8" if screened else quantization_of_output(quantize))
        if not config.has_output_layer:
            head = head_bytes = 0
        embedding = sizes.pop(EMBEDDING)  # a look-up reads a single row
        parameters = sum(sizes.values())
        used = {name: size * _share_used(config, name) for name, size in sizes.items()}
        layers = sum(used.values())
        last = f"model.layers.{config.num_layers - 1}."
        keys_and_values = {f"{last}self_attn.{name}_proj.weight" for name in "kv"}
        left_out = sum(size for name, size in used.items() if name.startswith(last) and name not in keys_and_values)
        return cls(
            parameters=parameters + embedding + (0 if config.tie_word_embeddings else head),
            weight_bytes=head_bytes
            + round(sum(_bytes_of([shapes[name]], quantize) * _share_used(config, name) for name in sizes)),
            flop_per_decoded_token=2.0 * (layers + (head / 2 if screened else head)),
            flop_per_prefilled_token=2.0 * (layers - left_out),
            cache_bytes_per_token=BFLOAT16_BYTES * 2 * config.num_layers * config.num_kv_heads * config.head_dim,
        )


def _share_used(config: ModelConfig, name: str) -> float:
    """Return the share of tokens that use the weight `name`."""
    experts = config.experts
    return experts.per_token / experts.count if experts is not None and ".experts." in name else 1.0


def _bytes_of(shapes: list[tuple[int, ...]], quantize: QuantizeName) -> int:
    if quantize != "none":
        return sum(quantised_bytes(shape, quantize) for shape in shapes)
    return BFLOAT16_BYTES * sum(map(prod, shapes))


def decode_limit(model: ModelCost, machine: MachineSpeed, batch: int, context: int = 0) -> float:
    """Return the maximum tokens per second that `batch` sequences of `context` tokens each can decode."""
    reads = (model.weight_bytes + batch * context * model.cache_bytes_per_token) / machine.read_bytes_per_second
    products = batch * model.flop_per_decoded_token / machine.flop_per_second
    return batch / max(reads, products)


def prefill_limit(model: ModelCost, machine: MachineSpeed, tokens: int) -> float:
    """Return the maximum prompt tokens per second for one prompt of `tokens` tokens."""
    products = tokens * model.flop_per_prefilled_token / machine.flop_per_second
    return tokens / max(products, model.weight_bytes / machine.read_bytes_per_second)


def batch_limit(
    model: ModelCost, machine: MachineSpeed, *, input_tokens: int, output_tokens: int, longest_output: int
) -> float:
    """Return the maximum output tokens per second of a job. The time includes the prefill."""
    return output_tokens / min_seconds(
        model, machine, input_tokens=input_tokens, output_tokens=output_tokens, longest_output=longest_output
    )


def min_seconds(
    model: ModelCost, machine: MachineSpeed, *, input_tokens: int, output_tokens: int, longest_output: int
) -> float:
    """Return the minimum seconds that a job takes, for any batching.

    All the job's products must be computed. The longest completion takes one step per token, and each step reads all
    weights.
    """
    flop = input_tokens * model.flop_per_prefilled_token + output_tokens * model.flop_per_decoded_token
    reads = longest_output * model.weight_bytes / machine.read_bytes_per_second
    return max(flop / machine.flop_per_second, reads)
