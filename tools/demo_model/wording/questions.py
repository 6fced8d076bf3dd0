"""Drawing of questions: an instance, a phrasing, and sometimes typing mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.demo_model.data.splits import Split, split_of
from tools.demo_model.tasks.task import Task

_CARELESS_SHARE = 0.25


@dataclass(frozen=True)
class Question:
    """A question and its only right answer."""

    text: str
    answer: str
    task: str
    key: str  # key of the instance, such as "37,48"
    thought: str = ""  # thought of the instance


def _without_spaces_round_operator(text: str) -> str:
    return re.sub(r"(\d) =", r"\1=", re.sub(r"(\d) ([-+*x]) (\d)", r"\1\2\3", text))


def _x_for_times(text: str) -> str:
    return re.sub(r"(\d)( ?)\*( ?)(\d)", r"\1\2x\3\4", text)


def _small_first_letter(text: str) -> str:
    return text[:1].lower() + text[1:]


def _without_end_mark(text: str) -> str:
    return text.rstrip(".?")


_SLIPS: tuple[Callable[[str], str], ...] = (
    _without_spaces_round_operator,
    _x_for_times,
    _small_first_letter,
    _without_end_mark,
)


def carelessly(text: str, rng: Random) -> str:
    """Return the text with typing mistakes, if it has a place for one."""
    possible = [slip for slip in _SLIPS if slip(text) != text]
    if not possible:
        return text
    for slip in rng.sample(possible, rng.randint(1, len(possible))):
        text = slip(text)
    return text


def draw_question(task: Task, split: Split, rng: Random) -> Question:
    """Return a question of the task, with an instance that belongs to the split.

    If all instances of a task are trained, its questions for every split come from the training split.
    """
    while True:
        instance = task.draw(rng)
        phrasing = rng.randrange(len(task.phrasings))
        if task.always_trained or split_of(task, instance, phrasing) is split:
            break
    text = task.phrasings[phrasing].format_map(instance.values)
    if rng.random() < _CARELESS_SHARE:
        text = carelessly(text, rng)
    return Question(text, instance.answer, task.name, instance.key, instance.thought)
