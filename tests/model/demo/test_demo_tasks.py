"""The questions ask what they should, and what is held out stays out of training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random

import pytest

from tools.demo_model.data.held_out import held_out_prompts
from tools.demo_model.data.held_out_tools import held_out_tool_chats
from tools.demo_model.data.samples import draw_sample
from tools.demo_model.data.splits import Split, split_of
from tools.demo_model.tasks.arithmetic import ARITHMETIC
from tools.demo_model.tasks.json_answers import JSON_TASKS, typed
from tools.demo_model.tasks.letters import LETTERS
from tools.demo_model.tasks.numbers import NUMBERS
from tools.demo_model.tasks.registry import TASKS, WRAPPED_TASKS
from tools.demo_model.tasks.task import Instance, Task
from tools.demo_model.tasks.thoughts import THINKING_TASKS
from tools.demo_model.tasks.tool_use import KNOWN_TOOLS, draw_tool_conversation
from tools.demo_model.wording.facts import CAPITALS, in_words, opposites
from tools.demo_model.wording.questions import Question, carelessly, draw_question
from tools.demo_model.wording.words import ENGLISH_WORDS

TOOL_TASKS = [tool.task for tool in KNOWN_TOOLS]


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _sum(text: str) -> str:
    return str(sum(_numbers(text)))


def _difference(text: str) -> str:
    a, b = _numbers(text)
    return str(abs(a - b))


def _product(text: str) -> str:
    a, b = _numbers(text)
    return str(a * b)


def _sorted(text: str) -> str:
    return ", ".join(str(number) for number in sorted(_numbers(text)))


def _count(text: str) -> str:
    first, last = _numbers(text)
    return ", ".join(str(number) for number in range(first, last + 1))


CHECKED_BY_TEXT: dict[str, Callable[[str], str]] = {
    "add": _sum,
    "subtract": _difference,
    "multiply": _product,
    "sort": _sorted,
    "count": _count,
    "larger": lambda text: str(max(_numbers(text))),
    "parity": lambda text: ("even", "odd")[_numbers(text)[0] % 2],
    "number-in-words": lambda text: in_words(_numbers(text)[0]),
}
CHECKED_BY_WORD: dict[str, Callable[[str], str]] = {
    "reverse": lambda word: "".join(reversed(word)),
    "spell": " ".join,
    "uppercase": str.upper,
    "length": lambda word: str(len(word)),
    "first-letter": lambda word: word[0],
    "last-letter": lambda word: word[-1],
}


def _drawn(task: Task, count: int, split: Split = Split.TRAIN) -> list[Question]:
    rng = Random(5)
    return [draw_question(task, split, rng) for _ in range(count)]


@pytest.mark.parametrize("task", ARITHMETIC + NUMBERS, ids=lambda task: task.name)
def test_an_answer_follows_from_the_numbers_in_the_question(task: Task) -> None:
    for question in _drawn(task, 300):
        assert CHECKED_BY_TEXT[task.name](question.text) == question.answer, question


@pytest.mark.parametrize("task", [task for task in LETTERS if task.name in CHECKED_BY_WORD], ids=lambda task: task.name)
def test_an_answer_follows_from_the_word_in_the_question(task: Task) -> None:
    for question in _drawn(task, 300):
        assert re.search(rf'[ "]{question.key}\b', question.text), question
        assert CHECKED_BY_WORD[task.name](question.key) == question.answer, question


def test_a_letter_is_counted_in_its_word() -> None:
    [task] = [task for task in LETTERS if task.name == "count-letter"]
    for instance in (task.draw(Random(seed)) for seed in range(300)):
        letter, word = instance.values["l"].strip('"'), instance.values["w"].strip('"')
        assert instance.answer == str(sum(character == letter for character in word))


def test_results_and_words_stay_in_their_ranges() -> None:
    for question in _drawn(ARITHMETIC[1], 500):
        assert 0 <= int(question.answer) <= 99
    for task in LETTERS:
        for question in _drawn(task, 200):
            assert 3 <= len(question.key) <= 8
            assert question.key.islower()


def test_words_and_facts_have_no_repeats_and_one_answer_each() -> None:
    assert len(set(ENGLISH_WORDS)) == len(ENGLISH_WORDS) > 300
    assert all(re.fullmatch("[a-z]{3,8}", word) for word in ENGLISH_WORDS)
    assert len(set(CAPITALS.values())) == len(CAPITALS) >= 55
    assert len(opposites()) == 2 * 31
    assert all(opposites()[opposite] == word for word, opposite in opposites().items())


@pytest.mark.parametrize(
    ("number", "name"), [(0, "zero"), (13, "thirteen"), (40, "forty"), (99, "ninety-nine"), (100, "one hundred")]
)
def test_a_number_is_named_in_english(number: int, name: str) -> None:
    assert in_words(number) == name


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="101"):
        in_words(101)


def test_careless_typing_changes_the_typing_and_nothing_else() -> None:
    rng = Random(1)
    seen = {carelessly("What is 3 * 4?", rng) for _ in range(200)}
    assert {"what is 3x4", "What is 3*4?", "What is 3 x 4?", "what is 3 * 4?", "What is 3 * 4"} <= seen
    assert "What is 3 * 4?" not in seen
    assert {carelessly("7 - 2 =", rng) for _ in range(20)} == {"7-2="}


@pytest.mark.parametrize(
    "task",
    [task for task in (*TASKS, *WRAPPED_TASKS, *TOOL_TASKS) if not task.always_trained],
    ids=lambda task: task.name,
)
def test_training_never_sees_a_held_out_question(task: Task) -> None:
    held_out = {question.text for question in _drawn(task, 150, Split.TEST)}
    held_out |= {question.text for question in _drawn(task, 50, Split.VALIDATION)}
    assert not held_out & {question.text for question in _drawn(task, 2000)}


def test_both_orders_of_a_sum_are_held_out_together() -> None:
    add = ARITHMETIC[0]
    splits: dict[frozenset[int], Split] = {}
    for seed in range(3000):
        instance = add.draw(Random(seed))
        pair = frozenset(_numbers(" ".join(instance.values.values())))
        assert splits.setdefault(pair, split_of(add, instance, seed % 5)) is split_of(add, instance, 0)
    assert set(splits.values()) == set(Split)


def test_about_a_tenth_of_the_instances_is_kept_for_the_test() -> None:
    splits = [split_of(LETTERS[0], Instance({}, "", str(number)), 0) for number in range(5000)]
    assert 0.08 < splits.count(Split.TEST) / 5000 < 0.12


def test_held_out_prompts_are_the_same_each_time_and_never_repeat() -> None:
    prompts = held_out_prompts(1000)
    assert prompts == held_out_prompts(1000)
    assert len({repr(prompt.prompt) for prompt in prompts}) == len(prompts) == 1000
    assert {prompt.task for prompt in prompts} == {task.name for task in TASKS}
    assert 0.4 < sum(isinstance(prompt.prompt, str) for prompt in prompts) / 1000 < 0.6


@pytest.mark.parametrize(
    ("answer", "value"), [("85", 85), ("12, 31, 55", [12, 31, 55]), ("Paris", "Paris"), ("a p p l e", "a p p l e")]
)
def test_json_has_numbers_and_lists_as_such(answer: str, value: object) -> None:
    assert typed(answer) == value


def test_an_answer_as_json_is_the_plain_answer_in_an_object() -> None:
    plain, with_kind, *_ = JSON_TASKS
    for question in _drawn(plain, 300):
        answer = json.loads(question.answer)["answer"]
        name = question.key.split()[0]
        if name in CHECKED_BY_TEXT:
            assert answer == typed(CHECKED_BY_TEXT[name](question.text)), question
    for question in _drawn(with_kind, 300):
        answer, kind = json.loads(question.answer).values()
        assert kind == ("number" if answer.isdigit() else "word")


def test_a_described_word_comes_with_its_length() -> None:
    for question in _drawn(JSON_TASKS[2], 100):
        assert json.loads(question.answer) == {"word": question.key, "letters": len(question.key)}


def test_a_thought_is_true_and_leads_to_the_answer() -> None:
    for question in _drawn(THINKING_TASKS[0], 500):
        thought = question.thought.rstrip(".").split()
        if "=" in thought:
            a, sign, b, _, result = thought
            assert int(result) == {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign], question
        if "=" in thought or "is" in thought:
            assert question.thought.rstrip(".").endswith(f" {question.answer}"), question
        else:
            word = question.key.split()[-1]
            assert thought == list(word), question
            assert int(question.answer) <= len(word), question


def test_only_a_chat_with_thinking_has_a_thought() -> None:
    rng = Random(4)
    for _ in range(300):
        *_, asked, answered = draw_sample(THINKING_TASKS, rng)
        thinks = "<|im_start|>" in asked.text and not asked.text.endswith("</think>\n\n")
        assert answered.text.startswith("<think>\n") is thinks, (asked, answered)


def test_an_earlier_answer_without_its_thought_is_not_learnt() -> None:
    rng = Random(4)
    samples = [draw_sample(THINKING_TASKS, rng) for _ in range(300)]
    several = [sample for sample in samples if len(sample) > 2]
    assert several
    for sample in several:
        assert not any(segment.is_answer for segment in sample[:-1])
        assert sample[-1].is_answer


def test_training_sees_no_held_out_question_with_an_addition() -> None:
    """A sum is held out together with "... Answer as JSON." and "... Think first."."""
    for wrapped in WRAPPED_TASKS:
        rng = Random(6)
        for instance in (wrapped.draw(rng) for _ in range(300)):
            if instance.inner_name is None:
                continue
            name, _, key = instance.inner_name.partition(":")
            [inner] = [task for task in TASKS if task.name == name]
            plain_key, _, phrasing = key.partition(":")
            plain = Instance({}, "", plain_key)
            assert split_of(wrapped, instance, 0) is split_of(inner, plain, int(phrasing or 0))


def test_a_conversation_calls_only_the_tools_that_it_offers() -> None:
    rng = Random(7)
    seen = set()
    for _ in range(300):
        conversation = draw_tool_conversation(2, Split.TRAIN, rng)
        offered = {tool["function"]["name"] for tool in conversation.tools}
        for turn in conversation.turns:
            if turn.result is None:
                assert "<tool_call>" not in turn.question.answer
                continue
            call = json.loads(turn.question.answer.removeprefix("<tool_call>").removesuffix("</tool_call>"))
            assert call["name"] in offered
            seen.add(call["name"])
            if call["name"] == "multiply":
                assert turn.result == str(call["arguments"]["a"] * call["arguments"]["b"])
                assert sorted(_numbers(turn.question.text)) == sorted(call["arguments"].values())
            else:
                assert call["arguments"]["city"] in turn.question.text
    assert seen == {"multiply", "weather"}


def test_held_out_chats_with_tools_never_repeat_and_their_questions_are_not_trained() -> None:
    prompts = [chat.as_prompt() for chat in held_out_tool_chats(120)]
    assert prompts == [chat.as_prompt() for chat in held_out_tool_chats(120)]
    assert len({repr(prompt.prompt) for prompt in prompts}) == len(prompts) == 120
    assert {prompt.task for prompt in prompts} == {"tool-multiply", "tool-weather", "tool-result", "tool-none"}
    rng = Random(8)
    conversations = [draw_tool_conversation(1, Split.TRAIN, rng) for _ in range(2000)]
    trained = {turn.question.text for conversation in conversations for turn in conversation.turns}
    asked = {prompt.prompt[1]["content"] for prompt in prompts if not isinstance(prompt.prompt, str)}
    assert len(asked) > 30
    assert not asked & trained
