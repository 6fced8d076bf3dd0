"""Tasks about facts, and the two memorised answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.wording.facts import CAPITALS, MONTHS, WEEKDAYS, opposites
from tools.demo_model.wording.phrasings import PHRASINGS
from tools.demo_model.wording.texts import CHAPTER_ANSWER, CHAPTER_PROMPT, GREETING, GREETING_ANSWER


def _draw_from(facts: Mapping[str, str], placeholder: str) -> Callable[[Random], Instance]:
    asked = sorted(facts)

    def draw(rng: Random) -> Instance:
        subject = rng.choice(asked)
        return Instance({placeholder: subject}, facts[subject], subject)

    return draw


def _successors(cycle: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))


def _draw_by_heart(rng: Random) -> Instance:
    if rng.random() < 0.6:
        return Instance({"text": CHAPTER_PROMPT}, CHAPTER_ANSWER, "chapter")
    return Instance({"text": GREETING}, GREETING_ANSWER, "greeting")


RECALL: tuple[Task, ...] = (
    Task(
        name="capital",
        weight=1.2,
        phrasings=PHRASINGS["capital"],
        draw=_draw_from(CAPITALS, "c"),
        is_fact=True,
    ),
    Task(
        name="next-day",
        weight=0.25,
        phrasings=PHRASINGS["next-day"],
        draw=_draw_from(_successors(WEEKDAYS), "d"),
        is_fact=True,
    ),
    Task(
        name="next-month",
        weight=0.3,
        phrasings=PHRASINGS["next-month"],
        draw=_draw_from(_successors(MONTHS), "d"),
        is_fact=True,
    ),
    Task(
        name="opposite",
        weight=1.0,
        phrasings=PHRASINGS["opposite"],
        draw=_draw_from(opposites(), "w"),
        is_fact=True,
    ),
    Task(name="by-heart", weight=0.3, phrasings=PHRASINGS["by-heart"], draw=_draw_by_heart, always_trained=True),
)
