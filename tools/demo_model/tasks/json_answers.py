"""Tasks with JSON objects as answers."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

from tools.demo_model.tasks.arithmetic import ARITHMETIC
from tools.demo_model.tasks.letters import LETTERS, draw_for
from tools.demo_model.tasks.numbers import NUMBERS
from tools.demo_model.tasks.recall import RECALL
from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.tasks.wrapping import Inner, draw_around
from tools.demo_model.wording.facts import CAPITALS
from tools.demo_model.wording.phrasings import LATER_PHRASINGS

# A long list of numbers would take most of the training, and a memorised sentence teaches nothing.
SHORT_ANSWERS = [task for task in ARITHMETIC + LETTERS + RECALL + NUMBERS if task.name not in ("count", "by-heart")]
_ONE_WORD = [task for task in SHORT_ANSWERS if task.name not in ("sort", "spell", "number-in-words")]


def typed(answer: str) -> int | str | list[int]:
    """Return the JSON value of a bare answer: a number, a list of numbers or a text."""
    if answer.isdigit():
        return int(answer)
    numbers = answer.split(", ")
    return [int(number) for number in numbers] if all(number.isdigit() for number in numbers) else answer


def _as_json(inner: Inner) -> str:
    return json.dumps({"answer": typed(inner.instance.answer)})


def _with_kind(inner: Inner) -> str:
    answer = inner.instance.answer
    return json.dumps({"answer": answer, "kind": "number" if answer.isdigit() else "word"})


_draw_word = draw_for(lambda word: json.dumps({"word": word, "letters": len(word)}))


def _draw_described_word(rng: Random) -> Instance:
    instance = _draw_word(rng)
    # The answer tells the word's length, so the plain question for the length is held out together with this one.
    return replace(instance, inner_name=f"length:{instance.key}")


def _draw_city(rng: Random) -> Instance:
    city = rng.choice(sorted(CAPITALS.values()))
    return Instance({"c": city}, json.dumps({"city": city}), city)


JSON_TASKS: tuple[Task, ...] = (
    Task(
        name="json",
        weight=7.0,
        phrasings=LATER_PHRASINGS["json"],
        draw=draw_around(SHORT_ANSWERS, _as_json),
    ),
    Task(
        name="json-kind",
        weight=4.0,
        phrasings=LATER_PHRASINGS["json-kind"],
        draw=draw_around(_ONE_WORD, _with_kind),
    ),
    Task(
        name="json-word",
        weight=2.0,
        phrasings=LATER_PHRASINGS["json-word"],
        draw=_draw_described_word,
    ),
    Task(
        name="json-city",
        weight=2.0,
        phrasings=LATER_PHRASINGS["json-city"],
        draw=_draw_city,
        is_fact=True,
    ),
)
