"""Training samples: questions in the forms that users send. The answers are marked in the text."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tools.demo_model.chat_format import END_OF_TEXT, TURN_END, chat_prompt
from tools.demo_model.questions import Question, draw_question
from tools.demo_model.splits import Split
from tools.demo_model.task import Task
from tools.demo_model.texts import SYSTEM_PROMPTS

_RAW_SHARE = 0.36
# Shares of all chats.
_EMPTY_THINKING_SHARE = 0.25
_SYSTEM_SHARE = 0.1
_SEVERAL_TURNS_SHARE = 0.14
_MOST_TURNS = 4


class Segment(NamedTuple):
    """A piece of a sample that is tokenised separately, like prompt and answer in use."""

    text: str
    is_answer: bool  # with its end token; only answers are learnt


Sample = list[Segment]


def _raw_sample(question: Question) -> Sample:
    """Return a sample of raw text. The answer begins with a space, as from a base model."""
    return [Segment(question.text, False), Segment(f" {question.answer}{END_OF_TEXT}", True)]


def _chat_sample(questions: Sequence[Question], system: str | None, empty_thinking: bool) -> Sample:
    sample: Sample = []
    for index, question in enumerate(questions):
        is_first, is_last = index == 0, index == len(questions) - 1
        messages = [{"role": "system", "content": system}] if is_first and system is not None else []
        messages.append({"role": "user", "content": question.text})
        prompt = chat_prompt(messages, empty_thinking=empty_thinking and is_last)
        # After the end token of an earlier answer the template writes a line break.
        sample.append(Segment(prompt if is_first else f"\n{prompt}", False))
        sample.append(Segment(question.answer + TURN_END, True))
    return sample


def draw_sample(tasks: Sequence[Task], rng: Random) -> Sample:
    """Return one training sample. Tasks are drawn by their weights."""
    weights = [task.weight for task in tasks]

    def question() -> Question:
        return draw_question(rng.choices(tasks, weights)[0], Split.TRAIN, rng)

    if rng.random() < _RAW_SHARE:
        return _raw_sample(question())
    turns = rng.randint(2, _MOST_TURNS) if rng.random() < _SEVERAL_TURNS_SHARE else 1
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < _SYSTEM_SHARE else None
    return _chat_sample([question() for _ in range(turns)], system, rng.random() < _EMPTY_THINKING_SHARE)
