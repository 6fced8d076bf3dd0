"""A row may be a prompt without an object around it: a text or a list of messages."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row import RefusedRow, TemplatedRow
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions, RowReader

ASK = {"role": "user", "content": "Why?"}
BRIEF = {"role": "system", "content": "Be brief."}
CHATS = [[ASK], [BRIEF, ASK, {"role": "assistant", "content": None, "tool_calls": []}]]
CONTAINERS: dict[str, Callable[[list[Any]], str]] = {
    "JSON lines": lambda prompts: "".join(f"{json.dumps(prompt)}\n" for prompt in prompts),
    "array in one line": json.dumps,
    "indented array": lambda prompts: json.dumps(prompts, indent=2),
    "array with a byte order mark": lambda prompts: "\ufeff" + json.dumps(prompts, indent=2),
}


def reader(content: str, **options: Any) -> RowReader:
    reading = ReadingOptions(prompts=PromptOptions(**options))
    return RowReader.of("file", lambda: io.BytesIO(content.encode()), reading)


def read(content: str, **options: Any) -> list[Any]:
    """The lines that are made of the content's rows. A refused row is its reason."""
    with reader(content, **options).rows() as rows:
        return [
            row.reason
            if isinstance(row, RefusedRow)
            else row.line
            if isinstance(row, TemplatedRow)
            else json.loads(row)
            for _, row in rows
        ]


@pytest.mark.parametrize("container", CONTAINERS)
def test_lists_of_messages_are_prompts(container: str) -> None:
    content = CONTAINERS[container](CHATS)
    assert read(content) == [{"messages": chat} for chat in CHATS]
    assert reader(content).columns() == ["messages"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_texts_are_prompts(container: str) -> None:
    assert read(CONTAINERS[container](["Why?", "a\n[b]"])) == [{"prompt": "Why?"}, {"prompt": "a\n[b]"}]


@pytest.mark.parametrize("container", ["array in one line", "indented array", "array with a byte order mark"])
def test_an_array_that_is_one_conversation_is_one_prompt(container: str) -> None:
    assert read(CONTAINERS[container]([BRIEF, ASK])) == [{"messages": [BRIEF, ASK]}]


def test_with_a_template_each_message_of_an_array_is_a_row() -> None:
    assert read(json.dumps([BRIEF, ASK]), template="{{ content }}", raw=True) == [
        {"prompt": "Be brief."},
        {"prompt": "Why?"},
    ]


def test_rows_with_a_column_named_role_stay_rows() -> None:
    rows = [{"role": "chef", "content": "a"}, {"role": "user", "prompt": "b"}]
    for row in rows:
        assert read(json.dumps([row])) == [row]


def test_templates_and_system_messages_see_a_bare_prompt() -> None:
    content = CONTAINERS["JSON lines"](CHATS)
    assert read(content, template="{{ messages[-1].role }}", raw=True) == [{"prompt": "user"}, {"prompt": "assistant"}]
    assert read(content, system="Be brief.")[0] == {"messages": [BRIEF, ASK]}


@pytest.mark.parametrize("row", [["a", "b"], [[ASK]], [{"content": "a"}]])
def test_another_list_is_refused_alone(row: list[Any]) -> None:
    content = CONTAINERS["JSON lines"]([[ASK], row])
    assert read(content) == [{"messages": [ASK]}, row]
    with PromptFile(["file"], [reader(content)], lambda: None) as opened:
        report = opened.check(skip_invalid=True).report
    assert f"line 2: the line is a list of {len(row)}; it must be one JSON object" in report.bad_lines.describe()


def test_a_wrong_message_of_a_bare_prompt_is_named() -> None:
    content = CONTAINERS["JSON lines"]([[ASK], [{"role": "bot", "content": "a"}]])
    with PromptFile(["file"], [reader(content)], lambda: None) as opened:
        report = opened.check(skip_invalid=True).report
    assert '`messages[0].role` is "bot"' in report.bad_lines.describe()


def test_a_line_that_is_cut_off_is_refused_alone() -> None:
    content = CONTAINERS["JSON lines"]([[ASK], [ASK], [ASK]]).replace("}]\n", "}\n", 2).replace("}\n", "}]\n", 1)
    with PromptFile(["file"], [reader(content)], lambda: None) as opened:
        report = opened.check(skip_invalid=True).report
    assert (report.num_lines, report.bad_lines.count) == (3, 1)
