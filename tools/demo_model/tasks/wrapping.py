"""Questions with another question inside, such as "What is 2 + 3? Answer as JSON."."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tools.demo_model.data.splits import name_of
from tools.demo_model.tasks.task import Instance, Task


@dataclass(frozen=True)
class Inner:
    """The question inside."""

    task: Task
    instance: Instance
    text: str


def _is_sentence(phrasing: str) -> bool:
    return phrasing.endswith((".", "?"))


def _draw_inner(tasks: Mapping[Task, float], rng: Random) -> Inner:
    [task] = rng.choices(list(tasks), list(tasks.values()))
    instance = task.draw(rng)
    sentences = [index for index, phrasing in enumerate(task.phrasings) if _is_sentence(phrasing)]
    phrasing = rng.choice(sentences)
    name = name_of(task, instance, phrasing)
    text = task.phrasings[phrasing].format_map(instance.values)
    return Inner(task, Instance(instance.values, instance.answer, instance.key, inner_name=name), text)


def draw_around(
    tasks: Sequence[Task], answer: Callable[[Inner], str], thought: Callable[[Inner], str] = lambda _: ""
) -> Callable[[Random], Instance]:
    """Return a draw of questions around questions of these tasks. Tasks are drawn by their weights.

    `answer` and `thought` compute the texts of the outer question. Its phrasings have the inner question at {q}.
    """
    weights = {task: task.weight for task in tasks}

    def draw(rng: Random) -> Instance:
        inner = _draw_inner(weights, rng)
        key = f"{inner.task.name} {inner.instance.key}"
        return Instance({"q": inner.text}, answer(inner), key, thought(inner), inner.instance.inner_name)

    return draw
