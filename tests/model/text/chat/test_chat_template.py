from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ModelUnusable
from model.text.chat_template import ChatTemplate, Conversation
from model.text.messages import MessagesInvalid

pytestmark = pytest.mark.usefixtures("quick_helpers")

MESSAGES = [{"role": "user", "content": "hi"}]


def rendered(template: ChatTemplate, conversation: Conversation) -> str:
    (text,) = template.render([conversation])
    if isinstance(text, MessagesInvalid):
        raise text
    return text


def render(source: str, **variables: Any) -> str:
    template = ChatTemplate({"default": source}, {"eos_token": "<end>"})
    return rendered(template, Conversation(MESSAGES, None, variables))


def test_a_template_sees_messages_variables_and_special_tokens() -> None:
    source = "{{ messages[0].content }}|{{ tools is none }}|{{ documents is none }}|{{ eos_token }}|{{ x }}"
    assert render(source, x=3) == "hi|True|True|<end>|3"


def test_a_variable_may_replace_a_special_token() -> None:
    assert render("{{ eos_token }}", eos_token="other") == "other"


def test_blocks_leave_no_blank_lines() -> None:
    assert render("a\n  {% if true %}\n  b\n  {% endif %}\nc") == "a\n  b\nc"


def test_tojson_is_plain_json_with_options() -> None:
    value = {"b": "<é>", "a": [1]}
    assert render("{{ x | tojson }}", x=value) == '{"b": "<é>", "a": [1]}'
    assert render("{{ x | tojson(indent=2, sort_keys=true) }}", x=value) == json.dumps(
        value, ensure_ascii=False, indent=2, sort_keys=True
    )


def test_loop_controls_and_the_generation_tag_work() -> None:
    source = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(source + "{% generation %}<{{ x }}>{% endgeneration %}", x=1) == "01<1>"


def test_strftime_now_gives_a_date() -> None:
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ undefined_thing.attribute }}", "'undefined_thing' is undefined"),
        ("{{ 'a' + 1 }}", "cannot render"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ ''.__class__.__mro__ }}", "is unsafe$"),
        ("{{ range(10000000) | list }}", "Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{% include 'other' %}", "cannot render"),
    ],
)
def test_what_a_template_may_not_do_is_an_error_of_the_messages(source: str, said: str) -> None:
    with pytest.raises(MessagesInvalid, match=said):
        render(source)


def write(folder: Path, config: object, jinja: str | None = None) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if jinja is not None:
        (folder / "chat_template.jinja").write_text(jinja)
    return folder


def from_folder(folder: Path, tools: list[dict[str, Any]] | None = None) -> str:
    template = ChatTemplate.from_folder(folder)
    assert template is not None
    return rendered(template, Conversation(MESSAGES, tools, {}))


def test_the_template_comes_from_the_config_and_the_jinja_file_overrides_it(tmp_path: Path) -> None:
    config = {"chat_template": "config {{ eos_token }}", "eos_token": {"content": "<e>"}, "pad_token": None}
    assert from_folder(write(tmp_path, config)) == "config <e>"
    assert from_folder(write(tmp_path, config, "file {{ eos_token }}")) == "file <e>"


def test_a_list_of_named_templates_has_one_for_tools(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    folder = write(tmp_path, {"chat_template": named})
    assert from_folder(folder) == "plain"
    assert from_folder(folder, tools=[{}]) == "tools"


def test_no_template_is_none(tmp_path: Path) -> None:
    assert ChatTemplate.from_folder(tmp_path) is None
    assert ChatTemplate.from_folder(write(tmp_path, {"chat_template": None})) is None


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"chat_template": 3},
        {"chat_template": "{% if %}"},
        {"chat_template": "{% for x in y %}"},
        {"chat_template": [{"name": "other", "template": "x"}]},
        {"chat_template": [{"name": "default", "template": 3}]},
        {"chat_template": [3]},
    ],
)
def test_a_damaged_template_makes_the_model_unusable(tmp_path: Path, config: object) -> None:
    with pytest.raises(ModelUnusable):
        ChatTemplate.from_folder(write(tmp_path, config))


def test_a_template_file_that_is_not_text_makes_the_model_unusable(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelUnusable, match=r"chat_template\.jinja"):
        ChatTemplate.from_folder(tmp_path)
