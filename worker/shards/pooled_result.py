"""Make the completions of lines that ask for embeddings or for a ranking."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from engine.request import RequestOutput
from jobs.records.completion import RankedDocument
from jobs.records.prompt import Prompt


class NotFinite(ValueError):
    """The model computed an infinite value, or none at all."""


def embeddings_of(outputs: Sequence[RequestOutput]) -> tuple[bytes, ...]:
    """Return the embedding of each prompt of a line, as little-endian float32. Raises `NotFinite`."""
    return tuple(_checked(output.pooled or b"") for output in outputs)


def ranking_of(prompt: Prompt, outputs: Sequence[RequestOutput]) -> tuple[RankedDocument, ...]:
    """Return the documents of a line, the most relevant one first. Equal ones keep their order. Raises `NotFinite`."""
    wish = prompt.rerank
    assert wish is not None
    parts = prompt.parts()
    scores = [_score(*_values(_checked(output.pooled or b""))) for output in outputs]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return tuple(
        RankedDocument(index, scores[index], parts[index].text if wish.return_documents else None)
        for index in order[: wish.top_n]
    )


def _score(yes: float, no: float) -> float:
    """Return the share of `yes` in the softmax of both logits."""
    return 1 / (1 + math.exp(min(no - yes, 700.0)))


def _checked(values: bytes) -> bytes:
    if not all(map(math.isfinite, _values(values))):
        raise NotFinite("the model computes values that are not finite")
    return values


def _values(values: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(values) // 4}f", values)
