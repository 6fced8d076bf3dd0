"""Training samples: questions in the forms that users send. The answers are marked in the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tools.demo_model.data.chat_format import (
    END_OF_TEXT,
    TURN_END,
    Message,
    chat_prompt,
    thinking,
    tool_result,
    with_tools,
)
from tools.demo_model.data.splits import Split
from tools.demo_model.tasks.json_answers import SHORT_ANSWERS, typed
from tools.demo_model.tasks.task import Task
from tools.demo_model.tasks.tool_use import ToolConversation, draw_tool_conversation
from tools.demo_model.wording.questions import Question, draw_question
from tools.demo_model.wording.texts import SYSTEM_PROMPTS

_RAW_SHARE = 0.36
# Shares of all chats.
_EMPTY_THINKING_SHARE = 0.25
_SYSTEM_SHARE = 0.1
_SEVERAL_TURNS_SHARE = 0.14
_MAX_TURNS = 4
_FORCED_SHARE = 0.04
_MAX_TOOL_TURNS = 2
_ENDS_WITH_CALL_SHARE = 0.4


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
        thought = thinking(question.thought) if is_last and not empty_thinking else ""
        # After the end token of an earlier answer the template writes a line break.
        sample.append(Segment(prompt if is_first else f"\n{prompt}", False))
        # The template leaves out earlier thoughts. An answer without its thought is history, and no example to learn.
        sample.append(Segment(thought + question.answer + TURN_END, is_last or not question.thought))
    return sample


def draw_sample(tasks: Sequence[Task], rng: Random) -> Sample:
    """Return one training sample. Tasks are drawn by their weights."""
    weights = [task.weight for task in tasks]

    def question() -> Question:
        return draw_question(rng.choices(tasks, weights)[0], Split.TRAIN, rng)

    if rng.random() < _RAW_SHARE:
        return _raw_sample(question())
    turns = rng.randint(2, _MAX_TURNS) if rng.random() < _SEVERAL_TURNS_SHARE else 1
    system = rng.choice(SYSTEM_PROMPTS) if rng.random() < _SYSTEM_SHARE else None
    return _chat_sample([question() for _ in range(turns)], system, rng.random() < _EMPTY_THINKING_SHARE)


def _forced_sample(rng: Random) -> Sample:
    """Return a chat whose answer must be JSON for a schema, though the question does not say so.

    The schema writes the beginning, so only the value and the end are learnt.
    """
    question = draw_question(rng.choices(SHORT_ANSWERS, [task.weight for task in SHORT_ANSWERS])[0], Split.TRAIN, rng)
    messages = [{"role": "user", "content": question.text}]
    prompt = chat_prompt(messages, empty_thinking=rng.random() < _EMPTY_THINKING_SHARE)
    written = json.dumps({"answer": question.answer if rng.random() < 0.5 else typed(question.answer)})
    end = written.index(": ") + (3 if written[-2] == '"' else 2)
    return [Segment(prompt + written[:end], False), Segment(written[end:] + TURN_END, True)]


def draw_later_sample(tasks: Sequence[Task], rng: Random) -> Sample:
    """Return one sample of the second lesson: a question of the tasks, or an answer that a schema has begun."""
    return _forced_sample(rng) if rng.random() < _FORCED_SHARE else draw_sample(tasks, rng)


def tool_sample(conversation: ToolConversation, *, ends_with_call: bool, empty_thinking: bool) -> Sample:
    """Return a conversation with tools. `ends_with_call` leaves out the last call's result, and the answer to it."""
    exchanges: list[tuple[Message, str]] = []
    for turn in conversation.turns:
        exchanges.append(({"role": "user", "content": turn.question.text}, turn.question.answer))
        if turn.result is not None:
            exchanges.append((tool_result(turn.result), turn.result))
    if ends_with_call:
        exchanges.pop()
    sample: Sample = []
    for index, (message, answer) in enumerate(exchanges):
        is_last = index == len(exchanges) - 1
        system = [{"role": "system", "content": with_tools(conversation.system, conversation.tools)}]
        messages = [*system, message] if index == 0 else [message]
        prompt = chat_prompt(messages, empty_thinking=empty_thinking and is_last)
        sample.append(Segment(prompt if index == 0 else f"\n{prompt}", False))
        sample.append(Segment(answer + TURN_END, True))
    return sample


def draw_tool_sample(rng: Random) -> Sample:
    """Return a sample with tools. Its last answer calls a tool, repeats a tool's result, or is bare."""
    conversation = draw_tool_conversation(rng.randint(1, _MAX_TOOL_TURNS), Split.TRAIN, rng)
    has_result = conversation.turns[-1].result is not None
    ends_with_call = has_result and rng.random() < _ENDS_WITH_CALL_SHARE
    empty_thinking = rng.random() < _EMPTY_THINKING_SHARE
    return tool_sample(conversation, ends_with_call=ends_with_call, empty_thinking=empty_thinking)
