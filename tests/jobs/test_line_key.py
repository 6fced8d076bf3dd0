"""The key of a line covers everything that its completion depends on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobs.records.constraint import FREE_TEXT, Constraint
from jobs.records.line_defaults import LineDefaults
from jobs.records.prompt import EmbedWish, LabelWish, Prompt, RerankWish
from jobs.records.sampling import NOTHING_SAID, SamplingSettings
from jobs.submission.line_key import LineKeys
from tests.jobs.test_sampling_settings import SETTINGS

LINE = Prompt(3, "q-3", text="Hi")
NOT_WORK = {
    "index": 4,
    "id": "another",
    "endpoint": "chat",  # only the shape of the result
    "source": "more.jsonl",  # only the name of the line's file
    "line": 7,  # only lines that cannot run have it
    "columns": msgspec.Raw(b'{"gold": "yes"}'),  # results take them from the job's own lines
}
# Two values of each field. A field without an entry here fails the test below: say what it means for the key.
WORK: dict[str, tuple[Any, Any]] = {
    "text": ("Hi", "Hi!"),
    "token_ids": ((1, 2), (1, 3)),
    "messages": (({"role": "user", "content": "Hi"},), ({"role": "system", "content": "Hi"},)),
    "settings": (NOTHING_SAID, SamplingSettings(max_tokens=5)),
    "return_token_ids": (False, True),
    "include_reasoning": (True, False),
    "more_prompts": ((), ("Hi",)),
    "n": (1, 2),
    "tools": (None, ({"type": "function", "function": {"name": "f"}},)),
    "tool_choice": ("auto", "none"),
    "forces_calls": (False, True),
    "truncate_prompt_tokens": (None, -1),
    "truncation_side": ("left", "right"),
    "logprobs": (None, 0),
    "echo": (None, "all"),
    "score": ((), ("yes", "no")),
    "labels": (LabelWish((1, 2)), LabelWish((1, 2), softmax=True)),
    "constraint": (Constraint("regex", "a+"), Constraint("regex", "b+")),
    "chat_template_kwargs": ({"enable_thinking": True}, {"enable_thinking": False}),
    "embed": (EmbedWish(), EmbedWish(dimensions=64)),
    "rerank": (RerankWish("Hi"), RerankWish("Hi!")),
}


def key(line: Prompt, defaults: SamplingSettings = NOTHING_SAID, seed: int = 1) -> bytes | None:
    """The key of the only line of a job."""
    return LineKeys(defaults, seed).key(line)


def changed(line: Prompt, /, **fields: Any) -> Prompt:
    return msgspec.structs.replace(line, **fields)


def test_every_field_of_a_line_is_work_or_is_known_not_to_be() -> None:
    assert {*NOT_WORK, *WORK, "invalid"} == set(Prompt.__struct_fields__)


@pytest.mark.parametrize("field", WORK)
def test_lines_that_differ_in_one_field_have_different_keys(field: str) -> None:
    one, other = WORK[field]
    assert key(changed(LINE, **{field: one})) != key(changed(LINE, **{field: other}))


@pytest.mark.parametrize("setting", SETTINGS)
def test_lines_that_differ_in_one_setting_have_different_keys(setting: str) -> None:
    value, _ = SETTINGS[setting]
    said = SamplingSettings(**{setting: value})
    assert key(changed(LINE, settings=said)) != key(LINE)


@pytest.mark.parametrize("kind", ["text", "token_ids", "messages"])
def test_lines_that_differ_in_the_kind_of_prompt_have_different_keys(kind: str) -> None:
    nothing = dict.fromkeys(("text", "token_ids", "messages"))
    lines = [changed(LINE, **nothing | {other: WORK[other][0]}) for other in nothing]
    this = key(changed(LINE, **nothing | {kind: WORK[kind][0]}))
    assert [key(line) == this for line in lines].count(True) == 1


@pytest.mark.parametrize("field", NOT_WORK)
def test_place_name_and_shape_of_the_result_leave_the_key_as_it_is(field: str) -> None:
    assert key(changed(LINE, **{field: NOT_WORK[field]})) == key(LINE)


def test_what_a_job_says_counts_as_if_the_line_said_it() -> None:
    said = SamplingSettings(max_tokens=5, top_k=7)
    assert key(LINE, said) == key(changed(LINE, settings=said))


def test_a_jobs_constraint_counts_as_if_the_line_had_it() -> None:
    yes_or_no = Constraint("choice", '["yes","no"]')
    of_job = LineKeys(NOTHING_SAID, 1, LineDefaults(constraint=yes_or_no))
    assert of_job.key(LINE) == key(changed(LINE, constraint=yes_or_no)) != key(LINE)
    assert of_job.key(changed(LINE, constraint=FREE_TEXT)) == key(LINE)


def test_a_line_that_cannot_run_has_no_key() -> None:
    assert key(changed(LINE, text=None, invalid="it is empty")) is None


def test_what_a_job_says_about_thinking_counts_as_if_the_line_said_it() -> None:
    chat = changed(LINE, text=None, messages=WORK["messages"][0])
    off = LineKeys(NOTHING_SAID, 1, LineDefaults(thinking=False))
    assert off.key(chat) == key(changed(chat, chat_template_kwargs={"enable_thinking": False})) != key(chat)
    on = changed(chat, chat_template_kwargs={"enable_thinking": True})
    assert off.key(on) == key(on)
    assert LineKeys(NOTHING_SAID, 1, LineDefaults(thinking=False)).key(LINE) == key(LINE)
