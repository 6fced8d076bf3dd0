"""All tasks that the demo model learns, in the order of the documentation."""

from __future__ import annotations

from tools.demo_model.arithmetic import ARITHMETIC
from tools.demo_model.letters import LETTERS
from tools.demo_model.numbers import NUMBERS
from tools.demo_model.recall import RECALL
from tools.demo_model.task import Task

TASKS: tuple[Task, ...] = ARITHMETIC + LETTERS + RECALL + NUMBERS
