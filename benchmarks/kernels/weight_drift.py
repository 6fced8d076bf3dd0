"""Measure how much quantised weights change a model's predictions: `python -m benchmarks.kernels.weight_drift MODEL`.

A text is fed token by token to the model in float32, in bfloat16, and with 8-bit and 4-bit weights. At each place the
distribution of the next token is compared with that in float32. The table has the mean Kullback-Leibler divergence in
nats, the share of places with the same likeliest token, and the perplexity of the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from cli.offline.local_model import load_local_model
from engine.config import EngineConfig
from model.checkpoint.hub import resolve_model
from model.rectangular_batch import RectangularBatch

ROWS = 16  # rows of the text, fed side by side
VARIANTS = {
    "float32": EngineConfig(device="cpu", dtype="float32"),
    "bfloat16": EngineConfig(device="cpu", dtype="bfloat16"),
    "int8": EngineConfig(device="cpu", quantize="int8"),
    "int4": EngineConfig(device="cpu", quantize="int4"),
}


@dataclass(frozen=True)
class Predictions:
    """A model's predictions at all places of the text."""

    log_probabilities: list[torch.Tensor]  # one [ROWS, vocabulary] float32 per step
    of_text: torch.Tensor  # [steps, ROWS], log probability of the token that came next

    @property
    def perplexity(self) -> float:
        """Perplexity of the text."""
        return float((-self.of_text.mean()).exp())

    def divergence_of(self, other: Predictions) -> float:
        """Return the mean of KL(self || other) over all places, in nats."""
        pairs = zip(self.log_probabilities, other.log_probabilities, strict=True)
        return float(torch.stack([(own.exp() * (own - its)).sum(-1).mean() for own, its in pairs]).mean())

    def agreement_with(self, other: Predictions) -> float:
        """Return the share of places with the same likeliest token."""
        pairs = zip(self.log_probabilities, other.log_probabilities, strict=True)
        return float(torch.stack([(own.argmax(-1) == its.argmax(-1)).float().mean() for own, its in pairs]).mean())


@click.command(help=__doc__)
@click.argument("model")
@click.option("--text", type=click.Path(exists=True, path_type=Path), default="README.md", show_default=True)
@click.option("--steps", type=click.IntRange(2), default=48, show_default=True, help=f"Places in each of {ROWS} rows.")
def main(model: str, text: Path, steps: int) -> None:
    """Print a line for each variant."""
    reference: Predictions | None = None
    click.echo(f"{'':<10}{'perplexity':>12}{'divergence':>12}{'same token':>12}")
    for name, config in VARIANTS.items():
        found = _predictions(model, config, text.read_text(encoding="utf-8"), steps)
        reference = reference or found
        divergence, agreement = reference.divergence_of(found), reference.agreement_with(found)
        click.echo(f"{name:<10}{found.perplexity:>12,.3f}{divergence:>12.5f}{agreement:>12.2%}")


def _predictions(model: str, config: EngineConfig, text: str, steps: int) -> Predictions:
    local = load_local_model(resolve_model(model, show_progress=False), config, click.echo)
    local.compile_layers(True, click.echo)
    ids = local.tokenizer.encode(text)
    width = len(ids) // ROWS
    if width <= steps:
        raise click.BadParameter(f"the text has {len(ids):,} tokens; {ROWS * (steps + 1):,} are needed.")
    rows = torch.tensor(ids[: ROWS * width]).view(ROWS, width)
    batch = RectangularBatch(local.model, ROWS, steps)
    distributions = list(_distributions(batch, rows[:, :steps]))
    came = [rows[:, step + 1 : step + 2] for step in range(steps)]
    of_text = [own.gather(1, token)[:, 0] for own, token in zip(distributions, came, strict=True)]
    return Predictions(distributions, torch.stack(of_text))


def _distributions(batch: RectangularBatch, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    for step in range(rows.shape[1]):
        yield batch.next_logits(rows[:, step : step + 1], start=step).log_softmax(-1)


if __name__ == "__main__":
    main()
