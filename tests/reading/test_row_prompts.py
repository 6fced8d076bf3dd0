"""A template makes prompts of rows. It cannot run for ever, fill the memory or reach into Python."""

from __future__ import annotations

import io
import json
import time
from functools import cache
from itertools import islice
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidInput
from jobs.files.formats.json_line import raw_columns
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.reading.row import RefusedRow, TemplatedRow
from jobs.files.reading.row_prompts import PromptOptions, RowPrompts
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.records.model_card import ModelCard
from jobs.templates.conversation import Conversation, MessageTemplate

pytestmark = pytest.mark.usefixtures("quick_helpers")

LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
ROWS: list[dict[str, Any]] = [
    {"id": "x", "question": "Why?", "answer": "So."},
    {"id": "y", "question": "How?", "temperature": 0.5},
]


def made(rows: list[Any], **options: Any) -> list[bytes | TemplatedRow | RefusedRow]:
    content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    reader = RowReader.of("file", lambda: io.BytesIO(content), ReadingOptions(prompts=PromptOptions(**options)))
    with reader.rows() as found:
        return [row for _, row in found]


def lines(rows: list[Any], **options: Any) -> list[Any]:
    """The lines that are made of the rows. A refused row is its reason."""
    return [
        row.reason if isinstance(row, RefusedRow) else row.line if isinstance(row, TemplatedRow) else json.loads(row)
        for row in made(rows, **options)
    ]


def columns(rows: list[Any], **options: Any) -> list[Any]:
    """The columns of the rows that a template made, as far as they may be kept."""
    found = [row for row in made(rows, **options) if isinstance(row, TemplatedRow)]
    assert all(list(json.loads(bytes(row.columns))) == list(row.names) for row in found)
    return [json.loads(bytes(row.columns)) for row in found]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_the_template_makes_a_message_of_each_row_and_the_columns_stay_beside_it() -> None:
    assert lines(ROWS, template="Q: {{ question }}") == [
        {"id": "x", "messages": [user("Q: Why?")]},
        {"id": "y", "messages": [user("Q: How?")]},
    ]
    assert columns(ROWS, template="Q: {{ question }}") == [
        {"question": "Why?", "answer": "So."},
        {"question": "How?", "temperature": 0.5},
    ]


def test_with_a_template_a_row_is_data_even_if_its_columns_are_named_like_keys() -> None:
    row = {"prompt": "a", "messages": "b", "stop": 7, "seed": "x", "model": "gpt", "body": {}, "custom_id": 1}
    options = {"template": "{{ prompt }}{{ messages }}", "raw": True}
    assert lines([row], **options) == [{"prompt": "ab"}]
    assert columns([row], **options) == [row]


def test_rows_can_be_numbered_and_the_column_named_id_is_data() -> None:
    rows = [{"id": 5, "text": "a"}, {"id": 5, "text": "b"}]
    options = {"template": "{{ text }}", "raw": True, "number_rows": True}
    assert lines(rows, **options) == [{"prompt": "a"}, {"prompt": "b"}]
    assert columns(rows, **options) == rows


def test_with_a_column_of_ids_the_column_named_id_is_data() -> None:
    row = {"id": 5, "key": "k", "text": "a"}
    assert lines([row], template="{{ text }}", raw=True, id_column="key") == [{"prompt": "a", "id": "k"}]
    assert columns([row], template="{{ text }}", id_column="key") == [{"id": 5, "text": "a"}]


def test_more_rows_than_one_request_holds_keep_their_order() -> None:
    rows = [{"n": number, "text": "x" * (number % 7)} for number in range(1000)]
    assert [line["prompt"] for line in lines(rows, template="{{ n }}{{ text }}", raw=True)] == [
        f"{row['n']}{row['text']}" for row in rows
    ]


def test_a_system_message_stands_before_messages_that_have_none() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert lines(ROWS[:1], template="{{ question }}", system="Be brief.") == [
        {"id": "x", "messages": [system, user("Why?")]}
    ]
    other = {"messages": [{"role": "system", "content": "Rhyme."}, user("Hi")]}
    openai = {"custom_id": "a", "body": {"messages": [user("Hi")]}}
    assert lines([{"messages": [user("Hi")]}, other, openai], system="Be brief.") == [
        {"messages": [system, user("Hi")]},
        other,
        {"custom_id": "a", "body": {"messages": [system, user("Hi")]}},
    ]


def test_a_column_can_be_the_id() -> None:
    assert lines([{"key": 7, "prompt": "a"}], id_column="key") == [{"id": 7, "prompt": "a"}]
    (reason,) = lines([{"prompt": "a"}], id_column="key")
    assert reason == "the row has no column `key` for its id; the row's columns are `prompt`"


def test_a_missing_column_is_refused_with_the_columns_there_are() -> None:
    first, second = lines(ROWS, template="{{ question }} {{ answer }}")
    assert first["messages"] == [user("Why? So.")]
    assert second == (
        "the template fails: 'answer' is undefined; the row's columns are `id`, `question`, `temperature`"
    )


def test_half_a_surrogate_pair_fails_the_row_alone() -> None:
    first, second = lines(ROWS, template="{{ 'a' if id == 'x' else '\\ud800' }}")
    assert first["messages"] == [user("a")]
    assert "surrogates not allowed" in second
    assert "the template fails: ?;" in lines(ROWS[:1], template="{{ raise_exception('\\ud800') }}")[0]


def test_a_conversation_makes_several_messages_of_each_row() -> None:
    messages = (
        MessageTemplate("system", "You know {{ question|length }} letters."),
        MessageTemplate("user", "Example?"),
        MessageTemplate("assistant", "{{ answer|default('Yes.') }}"),
        MessageTemplate("user", "{{ question }}"),
    )
    first, second = lines(ROWS, template=Conversation(messages), system="Not said, because there is one.")
    assert [(message["role"], message["content"]) for message in first["messages"]] == [
        ("system", "You know 4 letters."),
        ("user", "Example?"),
        ("assistant", "So."),
        ("user", "Why?"),
    ]
    assert second["messages"][2]["content"] == "Yes."
    (first, second) = lines(ROWS, template=Conversation((*messages, MessageTemplate("user", "{{ answer }}"))))
    assert second.startswith("the template fails: 'answer' is undefined; ")
    assert lines(ROWS[:1], template=Conversation(messages[1:]), system="Be brief.")[0]["messages"][0] == {
        "role": "system",
        "content": "Be brief.",
    }


@pytest.mark.parametrize(("times", "fits"), [(5, True), (7, False)])
def test_a_row_that_becomes_too_long_is_refused_alone(times: int, fits: bool) -> None:
    rows = [{"text": "\u0001" * 2**18}, {"text": "short"}]  # in JSON, a control character takes six bytes
    first, second = lines(rows, template="{{ text }}" * times, raw=True)
    assert (first == "the row is longer than 10 MiB, the maximum length") is not fits
    assert second == {"prompt": "short" * times}


def test_a_row_without_the_text_for_a_raw_prompt_is_a_bad_line() -> None:
    (row,) = made([{"text": ""}], template="{{ text }}", raw=True)
    assert isinstance(row, TemplatedRow)
    prompt = LineDecoder().decode_templated(row, 0, 7)
    assert (prompt.id, prompt.line, prompt.columns) == ("", 7, msgspec.Raw(b""))
    assert prompt.invalid == '`prompt` is ""; the model needs at least one token to continue from'


def test_a_pass_that_is_broken_off_does_not_disturb_the_next_one() -> None:
    content = b"".join(b'{"n": %d}\n' % number for number in range(1000))
    options = ReadingOptions(prompts=PromptOptions("{{ n }}", raw=True))
    reader = RowReader.of("file", lambda: io.BytesIO(content), options)
    passes = [reader.rows() for _ in range(2)]
    with passes[0] as first, passes[1] as second:
        both = [(one, other) for (_, one), (_, other) in zip(first, islice(second, 500), strict=False)]
    assert [(one.line["prompt"], other.line["prompt"]) for one, other in both] == [(str(n), str(n)) for n in range(500)]  # type: ignore[union-attr]
    with reader.rows() as rows:
        assert [row.line["prompt"] for _, row in rows] == [str(n) for n in range(1000)]  # type: ignore[union-attr]


def test_the_digest_tells_rows_and_options_apart() -> None:
    def digest(content: bytes, **options: Any) -> str:
        reader = RowReader.of("file", lambda: io.BytesIO(content), ReadingOptions(prompts=PromptOptions(**options)))
        with reader.rows() as rows:
            list(rows)
            return rows.digest

    row = b'{"key": 1, "text": "a"}\n'
    options: list[dict[str, Any]] = [
        {"template": "{{ text }}"},
        {"template": "{{ text }} "},
        {"template": "{{ text }}", "raw": True},
    ]
    options += [{"template": "{{ text }}", "id_column": "key"}, {"template": "{{ text }}", "system": "Hi"}]
    assert len({digest(row, **each) for each in options}) == len(options)
    assert digest(row, **options[0]) == digest(row, **options[0]) != digest(row.replace(b"1", b"2"), **options[0])


def test_a_row_that_is_no_object_is_passed_on() -> None:
    assert lines([["list"], ROWS[0]], template="{{ question }}")[0] == ["list"]


@pytest.mark.parametrize("source", ["{{ question", "{% if %}", "{% nothing %}", "{{ question | nofilter }}"])
def test_a_template_with_a_fault_of_syntax_is_refused_at_once(source: str) -> None:
    with pytest.raises(InvalidInput, match=r"The template cannot be used: .*[^.] \(line 1\)\. Correct"):
        lines(ROWS, template=source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ question.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(question) }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_cannot_reach_into_python(source: str) -> None:
    (reason,) = lines(ROWS[:1], template=source)
    assert isinstance(reason, str)
    assert reason.startswith("the template fails: ") and ".;" not in reason


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (LOOP, "it ran for more than 0.5 s"),
        ("{{ question * 9999999999 }}", "it took more than 64 MiB of memory"),
        ("{% for i in range(99999) %}{{ question * 99999 }}{% endfor %}", "it "),
    ],
)
def test_a_template_without_end_is_refused_with_the_row(source: str, said: str) -> None:
    started_at = time.process_time()
    with pytest.raises(InvalidInput, match=f"The template cannot be used for row 1: {said}"):
        lines(ROWS, template=source)
    assert time.process_time() - started_at < 2


def test_an_endless_row_among_good_ones_is_named() -> None:
    rows = [{"n": 0}] * 300 + [{"n": 99999}]
    with pytest.raises(InvalidInput, match="row 301: it ran for more than"):
        lines(rows, template="{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["id", "key", "prompt", "messages", "temperature", "custom_id", "body", "model"]) | st.text()
CARD = ModelCard(name="demo", vocab_size=1000, max_model_len=2048, has_chat_template=False)


@cache
def maker(id_column: str | None, raw: bool) -> RowPrompts:
    """Examples share the helper process of a template."""
    return RowPrompts(PromptOptions("Say {{ t }}", id_column=id_column, raw=raw))


@given(
    row=st.dictionaries(NAMES, JSON, max_size=4).map(lambda row: row | {"t": "x"}),
    separators=st.sampled_from([(",", ":"), (", ", ": ")]),
    id_column=st.sampled_from([None, "key"]),
    raw=st.booleans(),
    rules=st.sampled_from(
        [LineRules(), LineRules(card=CARD), LineRules(keep=("key", "prompt")), LineRules(keep=()), LineRules(n=3)]
    ),
)
def test_a_row_says_the_same_as_the_line_it_would_be(
    row: dict[str, Any], separators: tuple[str, str], id_column: str | None, raw: bool, rules: LineRules
) -> None:
    """The line is written as JSON and parsed again, and the columns are cut out of the row's own text."""
    source = json.dumps(row, separators=separators).encode()
    ((_, templated),) = maker(id_column, raw).lines([(1, source)])
    if isinstance(templated, RefusedRow):
        assert id_column is not None
        assert row.get(id_column) is None
        return
    assert isinstance(templated, TemplatedRow)
    found = LineDecoder(rules).decode_templated(templated, 0, 1)
    line = LineDecoder(rules).decode(msgspec.json.encode(templated.line), 0, 1)
    names = [name for name in row if name != (id_column or "id") and (rules.keep is None or name in rules.keep)]
    if names and line.invalid is None:
        line = msgspec.structs.replace(line, columns=raw_columns(source, names))
    assert found == line


@given(row=st.dictionaries(NAMES, JSON, max_size=4).map(lambda row: row | {"t": "x"}), raw=st.booleans())
def test_rows_that_were_encoded_here_need_no_comparison(row: dict[str, Any], raw: bool) -> None:
    try:
        source = msgspec.json.encode(row)
    except OverflowError:  # an integer of more than 64 bits
        return
    assert list(maker(None, raw).lines([(1, source)], True)) == list(maker(None, raw).lines([(1, source)]))
