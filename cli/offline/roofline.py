"""What a machine's memory and arithmetic allow at most: the roofline of Williams, Waterman and Patterson (2009)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from engine.config import QuantizeName
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import EMBEDDING, LM_HEAD, expected_shapes
from model.ops.int8 import quantised_bytes

BFLOAT16_BYTES = 2


@dataclass(frozen=True)
class MachineSpeed:
    """Measured, not copied from a data sheet."""

    read_bytes_per_second: float  # memory, all cores together
    flop_per_second: float  # bfloat16 matrix products, all cores together

    def best_of(self, other: MachineSpeed) -> MachineSpeed:
        """Of two measurements: what slows a machine for a while does not lower what it can do."""
        return MachineSpeed(
            max(self.read_bytes_per_second, other.read_bytes_per_second),
            max(self.flop_per_second, other.flop_per_second),
        )


@dataclass(frozen=True)
class ModelCost:
    """What a dense model costs. Attention's own products are left out, so limits are on the safe side."""

    parameters: int
    weight_bytes: int  # read by every step: all matrices, the output layer included, of which 8 bits may be enough
    flop_per_decoded_token: float
    flop_per_prefilled_token: float  # only a prompt's last one goes on from the last layer's keys and values
    cache_bytes_per_token: int  # keys and values of all layers

    @classmethod
    def of_model(cls, config: ModelConfig, quantize: QuantizeName = "none", *, screened: bool = True) -> ModelCost:
        """Counted from the shapes of its tensors.

        Args:
            config: The model.
            quantize: What became of its weights.
            screened: Whether 8 bits of the output layer, which are read and multiplied in half the time, may say
                which few of its logits have to be computed (`model.sampling.output_screen`).
        """
        shapes = {name: shape for name, shape in expected_shapes(config).items() if len(shape) == 2}
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        head = sizes.pop(LM_HEAD)
        embedding = sizes.pop(EMBEDDING)  # a look-up reads one row of it
        layers = sum(sizes.values())
        last = f"model.layers.{config.num_layers - 1}."
        keys_and_values = {f"{last}self_attn.{name}_proj.weight" for name in "kv"}
        left_out = sum(size for name, size in sizes.items() if name.startswith(last) and name not in keys_and_values)
        return cls(
            parameters=layers + embedding + (0 if config.tie_word_embeddings else head),
            weight_bytes=_bytes_of([shapes[name] for name in sizes], quantize)
            + _bytes_of([shapes[LM_HEAD]], "int8" if screened else quantize),
            flop_per_decoded_token=2.0 * (layers + (head / 2 if screened else head)),
            flop_per_prefilled_token=2.0 * (layers - left_out),
            cache_bytes_per_token=BFLOAT16_BYTES * 2 * config.num_layers * config.num_kv_heads * config.head_dim,
        )


def _bytes_of(shapes: list[tuple[int, ...]], quantize: QuantizeName) -> int:
    if quantize == "int8":
        return sum(quantised_bytes(shape[0], shape[1]) for shape in shapes)
    return BFLOAT16_BYTES * sum(map(prod, shapes))


def decode_limit(model: ModelCost, machine: MachineSpeed, batch: int, context: int = 0) -> float:
    """Tokens a second that `batch` sequences of `context` tokens each can decode at most."""
    reads = (model.weight_bytes + batch * context * model.cache_bytes_per_token) / machine.read_bytes_per_second
    products = batch * model.flop_per_decoded_token / machine.flop_per_second
    return batch / max(reads, products)


def prefill_limit(model: ModelCost, machine: MachineSpeed, tokens: int) -> float:
    """Prompt tokens a second of one prompt of `tokens` tokens at most."""
    products = tokens * model.flop_per_prefilled_token / machine.flop_per_second
    return tokens / max(products, model.weight_bytes / machine.read_bytes_per_second)


def batch_limit(
    model: ModelCost, machine: MachineSpeed, *, input_tokens: int, output_tokens: int, longest_output: int
) -> float:
    """Output tokens a second of a job, prefill in the time, at most."""
    return output_tokens / least_seconds(
        model, machine, input_tokens=input_tokens, output_tokens=output_tokens, longest_output=longest_output
    )


def least_seconds(
    model: ModelCost, machine: MachineSpeed, *, input_tokens: int, output_tokens: int, longest_output: int
) -> float:
    """Seconds that a job takes at least, however it is batched.

    All its products must be computed, and the longest completion takes as many steps as it has tokens, each of which
    reads all weights.
    """
    flop = input_tokens * model.flop_per_prefilled_token + output_tokens * model.flop_per_decoded_token
    reads = longest_output * model.weight_bytes / machine.read_bytes_per_second
    return max(flop / machine.flop_per_second, reads)
