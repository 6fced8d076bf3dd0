"""Tasks about numbers: comparing, sorting, counting and naming."""

from __future__ import annotations

from random import Random

from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.wording.facts import in_words
from tools.demo_model.wording.phrasings import PHRASINGS


def _number_of_any_length(rng: Random) -> int:
    """Return a number from 0 to 999. One, two and three digits are equally likely."""
    digits = rng.choice((1, 2, 3))
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _draw_larger(rng: Random) -> Instance:
    a = max(1, _number_of_any_length(rng))
    b = max(1, _number_of_any_length(rng)) if rng.random() < 0.6 else min(999, max(1, a + rng.randint(-12, 12)))
    if a == b:
        return _draw_larger(rng)
    return Instance({"a": str(a), "b": str(b)}, str(max(a, b)), f"{min(a, b)},{max(a, b)}")


def _joined(numbers: list[int] | range) -> str:
    return ", ".join(str(number) for number in numbers)


def _draw_sort(rng: Random) -> Instance:
    numbers = [rng.randrange(10, 100) for _ in range(rng.randint(3, 5))]
    answer = _joined(sorted(numbers))
    return Instance({"s": _joined(numbers)}, answer, answer)


def _draw_count(rng: Random) -> Instance:
    first = rng.randrange(100)
    last = min(100, first + rng.randint(1, 20))
    return Instance({"a": str(first), "b": str(last)}, _joined(range(first, last + 1)), f"{first},{last}")


def _draw_in_words(rng: Random) -> Instance:
    number = rng.randrange(101)
    return Instance({"a": str(number)}, in_words(number), str(number))


def _draw_parity(rng: Random) -> Instance:
    number = _number_of_any_length(rng)
    return Instance({"a": str(number)}, "odd" if number % 2 else "even", str(number))


NUMBERS: tuple[Task, ...] = (
    Task(
        name="larger",
        weight=1.5,
        phrasings=PHRASINGS["larger"],
        draw=_draw_larger,
    ),
    Task(
        name="sort",
        weight=2.5,
        phrasings=PHRASINGS["sort"],
        draw=_draw_sort,
    ),
    Task(
        name="count",
        weight=0.8,
        phrasings=PHRASINGS["count"],
        draw=_draw_count,
    ),
    Task(
        name="number-in-words",
        weight=0.6,
        phrasings=PHRASINGS["number-in-words"],
        draw=_draw_in_words,
        is_fact=True,
    ),
    Task(
        name="parity",
        weight=1.0,
        phrasings=PHRASINGS["parity"],
        draw=_draw_parity,
    ),
)
