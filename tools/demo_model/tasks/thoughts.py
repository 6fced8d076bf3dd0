"""Tasks with a short thought before the answer. Only a question that asks for a thought gets one.

Training writes thoughts only in chats with thinking. Raw text and chats with the empty think block get a bare answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.demo_model.tasks.arithmetic import ARITHMETIC
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.recall import RECALL
from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.tasks.wrapping import Inner, draw_around
from tools.demo_model.wording.phrasings import LATER_PHRASINGS


def _worked_out(sign: str) -> Callable[[Instance], str]:
    return lambda instance: f"{instance.values['a']} {sign} {instance.values['b']} = {instance.answer}"


def _spelled(instance: Instance) -> str:
    return " ".join(instance.values["w"].strip('"'))


_THOUGHTS: Mapping[str, Callable[[Instance], str]] = {
    "add": _worked_out("+"),
    "subtract": _worked_out("-"),
    "multiply": _worked_out("*"),
    "length": _spelled,
    "count-letter": _spelled,
    "capital": lambda instance: f"The capital of {instance.values['c']} is {instance.answer}.",
    "opposite": lambda instance: f"The opposite of {instance.values['w']} is {instance.answer}.",
}
_INSIDE = [task for task in ARITHMETIC + LETTERS + RECALL if task.name in _THOUGHTS]


def _thought(inner: Inner) -> str:
    return _THOUGHTS[inner.task.name](inner.instance)


THINKING_TASKS: tuple[Task, ...] = (
    Task(
        name="think",
        weight=8.0,
        phrasings=LATER_PHRASINGS["think"],
        draw=draw_around(_INSIDE, lambda inner: inner.instance.answer, _thought),
    ),
)
