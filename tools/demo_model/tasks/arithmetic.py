"""Tasks of arithmetic: sums, differences and products."""

from __future__ import annotations

from random import Random

from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.wording.phrasings import PHRASINGS

# Small operands come often: their sums are the first that people try, and the rarest under a uniform draw.
_OPERAND_LIMITS = (10, 21, 100, 100, 100)


def _operands(rng: Random) -> tuple[int, int]:
    limit = rng.choice(_OPERAND_LIMITS)
    return rng.randrange(limit), rng.randrange(limit)


def _unordered(a: int, b: int) -> str:
    return f"{min(a, b)},{max(a, b)}"


def _draw_sum(rng: Random) -> Instance:
    a, b = _operands(rng)
    return Instance({"a": str(a), "b": str(b)}, str(a + b), _unordered(a, b))


def _draw_difference(rng: Random) -> Instance:
    b, a = sorted(_operands(rng))
    return Instance({"a": str(a), "b": str(b)}, str(a - b), f"{a},{b}")


def _draw_product(rng: Random) -> Instance:
    a, b = rng.randrange(13), rng.randrange(13)
    return Instance({"a": str(a), "b": str(b)}, str(a * b), _unordered(a, b))


ARITHMETIC: tuple[Task, ...] = (
    Task(
        name="add",
        weight=4.0,
        phrasings=PHRASINGS["add"],
        draw=_draw_sum,
    ),
    Task(
        name="subtract",
        weight=5.0,
        phrasings=PHRASINGS["subtract"],
        draw=_draw_difference,
    ),
    Task(
        name="multiply",
        weight=1.5,
        phrasings=PHRASINGS["multiply"],
        draw=_draw_product,
        is_fact=True,  # the table of 91 products is memorised
    ),
)
