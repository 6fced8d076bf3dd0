"""All tasks that the demo model learns, in the order of the documentation.

`TASKS` have bare answers. Answers of the other tasks are JSON, follow a thought, or call a tool.
"""

from __future__ import annotations

from tools.demo_model.tasks.arithmetic import ARITHMETIC
from tools.demo_model.tasks.json_answers import JSON_TASKS
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.numbers import NUMBERS
from tools.demo_model.tasks.recall import RECALL
from tools.demo_model.tasks.task import Task
from tools.demo_model.tasks.thoughts import THINKING_TASKS

TASKS: tuple[Task, ...] = ARITHMETIC + LETTERS + RECALL + NUMBERS
WRAPPED_TASKS: tuple[Task, ...] = JSON_TASKS + THINKING_TASKS
