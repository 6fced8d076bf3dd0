"""Files for fine-tuning end each line with the assistant's answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobs.files.formats.features.last_assistant import LastAssistant
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row import TemplatedRow
from jobs.records.prompt import Prompt
from jobs.submission.submit_options import LineOptions, SubmitOptions, submission_key

USER: dict[str, Any] = {"role": "user", "content": "What is 2 + 3?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "It is 5."}
ENDINGS: list[dict[str, Any]] = [
    {"messages": [USER, ANSWER]},
    {"custom_id": "a", "body": {"messages": [USER, ANSWER]}},
    {"conversations": [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": ANSWER["content"]}]},
]
Decode = Callable[..., Prompt]


@pytest.fixture
def decode() -> Decode:
    """Decodes one line with a rule for its end."""

    def decode(line: Any, ending: LastAssistant = LastAssistant.DROP, keep: tuple[str, ...] | None = None) -> Prompt:
        return LineDecoder(LineRules(last_assistant=ending, keep=keep)).decode(json.dumps(line).encode(), 0, 1)

    return decode


def columns_of(prompt: Prompt) -> Any:
    return msgspec.json.decode(prompt.columns) if bytes(prompt.columns) else None


@pytest.mark.parametrize("line", ENDINGS, ids=["native", "OpenAI", "ShareGPT"])
def test_the_last_answer_is_removed_and_comes_back_as_a_column(decode: Decode, line: dict[str, Any]) -> None:
    prompt = decode(line | {"topic": "sums"})
    assert (prompt.messages, columns_of(prompt)) == ((USER,), {"topic": "sums", "reference": "It is 5."})
    assert columns_of(decode(line)) == {"reference": "It is 5."}


@pytest.mark.parametrize("line", ENDINGS, ids=["native", "OpenAI", "ShareGPT"])
def test_the_model_can_go_on_from_the_last_answer(decode: Decode, line: dict[str, Any]) -> None:
    prompt = decode(line, LastAssistant.CONTINUE)
    assert prompt.messages == (USER, ANSWER)
    assert prompt.chat_template_kwargs == {"continue_final_message": True}


@pytest.mark.parametrize("ending", list(LastAssistant))
def test_a_line_that_ends_otherwise_stays_as_it_is(decode: Decode, ending: LastAssistant) -> None:
    prompt = decode({"messages": [USER, ANSWER, USER]}, ending)
    assert (prompt.messages, prompt.chat_template_kwargs, columns_of(prompt)) == ((USER, ANSWER, USER), {}, None)
    assert decode({"prompt": "a"}, ending).text == "a"


def test_only_the_last_of_several_answers_is_removed(decode: Decode) -> None:
    assert decode({"messages": [USER, ANSWER, USER, ANSWER, ANSWER]}).messages == (USER, ANSWER, USER, ANSWER)


def test_an_answer_with_tool_calls_comes_back_whole(decode: Decode) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = ANSWER | {"tool_calls": [call]}
    assert columns_of(decode({"messages": [USER, answer]})) == {"reference": answer}


def test_a_line_with_nothing_but_an_answer_is_bad(decode: Decode) -> None:
    prompt = decode({"messages": [ANSWER]})
    assert prompt.invalid == "the only message is the assistant's; nothing is left without it"


def test_a_column_named_reference_stays_beside_the_answer(decode: Decode) -> None:
    line = {"messages": [USER, ANSWER], "reference": 5, "reference_2": 6}
    assert columns_of(decode(line)) == {"reference": 5, "reference_2": 6, "reference_3": "It is 5."}


def test_the_answer_is_kept_as_other_columns_are(decode: Decode) -> None:
    line = {"messages": [USER, ANSWER], "topic": "sums"}
    assert columns_of(decode(line, keep=())) is None
    assert columns_of(decode(line, keep=("topic",))) == {"topic": "sums"}
    assert columns_of(decode(line, keep=("reference",))) == {"reference": "It is 5."}


def test_the_next_line_does_not_get_the_answer_of_this_one() -> None:
    decoder = LineDecoder(LineRules(last_assistant=LastAssistant.DROP))
    decoder.decode(json.dumps(ENDINGS[0]).encode(), 0, 1)
    assert columns_of(decoder.decode(json.dumps({"messages": [USER]}).encode(), 1, 2)) is None


def test_a_template_may_end_with_an_answer_too() -> None:
    row = TemplatedRow({"messages": [USER, ANSWER]}, ("n",), msgspec.Raw(b'{"n":1}'))
    prompt = LineDecoder(LineRules(last_assistant=LastAssistant.DROP)).decode_templated(row, 0, 1)
    assert (prompt.messages, columns_of(prompt)) == ((USER,), {"n": 1, "reference": "It is 5."})


def test_a_notice_says_how_many_lines_end_with_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [ENDINGS[0], ENDINGS[2], {"messages": [USER]}]))
    with PromptFile.open(str(path), io.BytesIO()) as file:
        assert file.check().report.notices() == [
            "2 lines end with the assistant's message. --drop-last-assistant removes it, --continue-last-assistant "
            "goes on from it."
        ]
        dropped = file.check(LineRules(last_assistant=LastAssistant.DROP)).report
    assert dropped.notices() == []
    assert dict(dropped.notes.columns) == {"reference": 2}
    options = [SubmitOptions("demo", lines=LineOptions(last_assistant=ending)) for ending in LastAssistant]
    assert len({submission_key(None, dropped, "demo", each) for each in options}) == 3
