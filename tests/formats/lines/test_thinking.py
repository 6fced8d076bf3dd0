"""What lines and jobs say about thinking: it is read, checked against the model, and never ignored."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobs.errors import InvalidInput
from jobs.files.file_report import FileRefused
from jobs.files.prompt_file import PromptFile
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard, ThinkingSupport, builtin_demo_folder, card_of_folder
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.submission.checking import check_file
from jobs.submission.submit_options import SubmitOptions
from tests.formats.conftest import Decode
from tests.model.text.chat.templates import HYBRID, INSTRUCT, THINKING

Why = Callable[..., str]
MESSAGES = [{"role": "user", "content": "Hi"}]


def chat(**more: Any) -> dict[str, Any]:
    return {"messages": MESSAGES, **more}


def openai(**more: Any) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat(**more)}


def card_of(thinking: ThinkingSupport, temperature: float = 0.6) -> ModelCard:
    return ModelCard("demo", 1000, 2048, True, SamplingSettings(temperature=temperature), thinking)


def notices(tmp_path: Path, lines: list[dict[str, Any]], card: ModelCard | None = None, **options: Any) -> list[str]:
    """What the author of a file is told."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with PromptFile.open(str(path), io.BytesIO()) as file:
        return check_file(file, SubmitOptions("demo", card=card, **options)).report.notices()


@pytest.mark.parametrize("line", [chat, openai])
@pytest.mark.parametrize("key", ["thinking_token_budget", "thinking_budget"])
def test_both_names_of_the_budget_are_read(decode: Decode, line: Any, key: str) -> None:
    assert decode(line(**{key: 100})).settings.thinking_token_budget == 100
    assert decode(line(**{key: 0})).settings.thinking_token_budget == 0
    assert decode(line(extra_body={key: 100})).settings.thinking_token_budget == 100


def claude(thinking: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "a", "params": chat(thinking=thinking)}


def gemini(thinking: dict[str, Any]) -> dict[str, Any]:
    return {"request": {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"thinkingConfig": thinking}}}


@pytest.mark.parametrize(
    ("line", "is_on", "budget"),
    [
        (claude({"type": "enabled", "budget_tokens": 1024}), True, 1024),
        (claude({"type": "disabled"}), False, None),
        (gemini({"thinkingBudget": 512}), True, 512),
        (gemini({"thinking_budget": -1}), True, None),
        (gemini({"thinkingBudget": 0}), False, None),
        (gemini({"includeThoughts": False}), True, None),
    ],
)
def test_budgets_of_other_services_are_budgets(
    decode: Decode, line: dict[str, Any], is_on: bool, budget: int | None
) -> None:
    prompt = decode(line)
    assert (prompt.invalid, prompt.settings.thinking_token_budget) == (None, budget)
    assert prompt.chat_template_kwargs == {"enable_thinking": is_on}


def test_a_wrong_budget_is_refused_by_name(why: Why) -> None:
    for wrong in (-1, 1.5, "100", True):
        assert "`thinking_budget` is" in why(chat(thinking_budget=wrong))
    assert "but `thinking_budget` is 2" in why(chat(thinking_token_budget=1, thinking_budget=2))


def test_the_wish_for_no_reasoning_is_read(decode: Decode, why: Why) -> None:
    assert decode(chat()).include_reasoning is True
    assert decode(chat(include_reasoning=False)).include_reasoning is False
    assert decode(openai(include_reasoning=False)).include_reasoning is False
    assert why(chat(include_reasoning="no")) == '`include_reasoning` is "no"; it must be true or false'


def test_a_raw_prompt_has_no_separate_thought(why: Why) -> None:
    assert "applies only to `messages`" in why({"prompt": "Hi", "thinking_budget": 5})
    assert "applies only to `messages`" in why({"prompt": "Hi", "include_reasoning": False})


def test_a_switch_that_is_no_boolean_is_refused_because_the_template_would_ignore_it(why: Why) -> None:
    reason = why(chat(chat_template_kwargs={"enable_thinking": "false"}))
    assert reason == '`chat_template_kwargs.enable_thinking` is "false"; it must be true or false'


def test_a_level_of_effort_is_refused_with_the_budget_as_the_next_step(why: Why) -> None:
    assert "limit the thought with `thinking_token_budget`" in why(openai(reasoning_effort="high"))


@pytest.mark.parametrize(
    ("template", "thinking"), [(HYBRID, "switch"), (INSTRUCT, "never"), (THINKING, "always"), (None, None)]
)
@pytest.mark.parametrize("named", [False, True])
def test_a_card_says_what_the_template_does_about_thinking(
    tmp_path: Path, template: str | None, thinking: str | None, named: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(builtin_demo_folder(), folder)
    config = {} if template is None else {"chat_template": template}
    if named and template is not None:
        config = {"chat_template": [{"name": "default", "template": template}]}  # type: ignore[dict-item]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    card = card_of_folder(folder, "model")
    assert (card.thinking, card.has_chat_template) == (thinking, template is not None)


@pytest.mark.parametrize(
    ("thinking", "switch", "reason"),
    [("always", False, "always thinks"), ("never", True, "does not think")],
)
def test_a_switch_that_the_model_would_ignore_is_refused(
    why: Why, tmp_path: Path, thinking: ThinkingSupport, switch: bool, reason: str
) -> None:
    card = card_of(thinking)
    assert reason in why(chat(enable_thinking=switch), card=card)
    assert reason in why(openai(chat_template_kwargs={"enable_thinking": switch}), card=card)
    with pytest.raises(InvalidInput, match=reason):
        notices(tmp_path, [chat()], card, line_defaults=LineDefaults(thinking=switch))


def test_a_budget_for_a_model_that_does_not_think_is_refused(why: Why, tmp_path: Path) -> None:
    assert "does not think" in why(chat(thinking_budget=2000), card=card_of("never"))
    with pytest.raises(InvalidInput, match="does not think"):
        notices(tmp_path, [chat()], card_of("never"), defaults=SamplingSettings(thinking_token_budget=2000))


@pytest.mark.parametrize(("thinking", "switch"), [("switch", True), ("switch", False), ("always", True)])
def test_a_switch_that_the_model_obeys_is_taken(decode: Decode, thinking: ThinkingSupport, switch: bool) -> None:
    prompt = decode(chat(enable_thinking=switch), card=card_of(thinking))
    assert (prompt.invalid, prompt.chat_template_kwargs) == (None, {"enable_thinking": switch})


def test_a_model_that_does_not_think_is_told_so_without_harm(decode: Decode) -> None:
    assert decode(chat(enable_thinking=False), card=card_of("never")).invalid is None


@pytest.mark.parametrize(("most", "fits"), [(1024, False), (1025, False), (1024 + 25, True)])
def test_max_tokens_must_leave_room_for_an_answer_after_the_budget(
    tmp_path: Path, why: Why, decode: Decode, most: int, fits: bool
) -> None:
    both = {"thinking_budget": 1024, "max_tokens": most}
    budget, tokens = SamplingSettings(thinking_token_budget=1024), SamplingSettings(max_tokens=most)
    cases = [(both, SamplingSettings()), ({"max_tokens": most}, budget), ({"thinking_budget": 1024}, tokens)]
    for said, defaults in cases:
        if fits:
            assert notices(tmp_path, [chat(**said)], defaults=defaults) == []
        else:
            with pytest.raises(FileRefused, match="must be more than 1,048"):
                notices(tmp_path, [chat(**said)], defaults=defaults)


def test_a_jobs_budget_does_not_concern_lines_without_thinking(tmp_path: Path) -> None:
    lines = [chat(enable_thinking=False, max_tokens=8), {"prompt": "Hi", "max_tokens": 8}]
    assert notices(tmp_path, lines, defaults=SamplingSettings(thinking_token_budget=1024)) == []
    budget, off = SamplingSettings(thinking_token_budget=1024), LineDefaults(thinking=False)
    assert notices(tmp_path, [chat(max_tokens=8)], defaults=budget, line_defaults=off) == []


def test_a_small_budget_gets_one_notice(tmp_path: Path) -> None:
    lines = [chat(id=str(number), thinking_budget=1023 + number // 2) for number in range(4)]
    said = "The thinking budget of 2 lines is small. Qwen advises at least 1,024 tokens."
    assert notices(tmp_path, lines) == [said]


@pytest.mark.parametrize(
    ("said", "card", "options", "warns"),
    [
        ({"temperature": 0}, card_of("switch"), {}, True),
        ({"temperature": 0}, card_of("always"), {}, True),
        ({"temperature": 0}, card_of("never"), {}, False),
        ({"temperature": 0, "enable_thinking": False}, card_of("switch"), {}, False),
        ({"temperature": 0}, card_of("switch"), {"line_defaults": LineDefaults(thinking=False)}, False),
        ({}, card_of("switch"), {"defaults": SamplingSettings(temperature=0)}, True),
        ({}, card_of("switch", temperature=0), {}, False),
        ({"temperature": 0}, card_of("switch", temperature=0), {}, False),
        ({"temperature": 0}, None, {}, False),
        ({"temperature": 0, "enable_thinking": True}, None, {}, True),
        ({"temperature": 0.6}, card_of("always"), {}, False),
    ],
)
def test_a_thought_at_temperature_0_gets_one_notice(
    tmp_path: Path, said: dict[str, Any], card: ModelCard | None, options: dict[str, Any], warns: bool
) -> None:
    found = notices(tmp_path, [chat(**said), chat(**said)], card, **options)
    wanted = "2 lines may think at temperature 0. Qwen advises against it: thoughts may repeat without end."
    assert found == ([wanted] if warns else [])


def test_a_jobs_switch_is_for_conversations_that_do_not_say() -> None:
    job = LineDefaults(thinking=False)
    said = Prompt(0, "a", messages=(MESSAGES[0],), chat_template_kwargs={"enable_thinking": True})
    silent = Prompt(0, "a", messages=(MESSAGES[0],), chat_template_kwargs={"other": 1})
    raw = Prompt(0, "a", text="Hi")
    assert [job.applied_to(said), job.applied_to(raw), LineDefaults().applied_to(silent)] == [said, raw, silent]
    expected = msgspec.structs.replace(silent, chat_template_kwargs={"other": 1, "enable_thinking": False})
    assert job.applied_to(silent) == expected
