"""`submit` makes prompts of rows with `--template` and `--system`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row import TemplatedRow
from jobs.files.reading.row_prompts import PromptOptions, RowPrompts
from jobs.files.reading.row_reader import ReadingOptions
from jobs.records.job import ShardRef
from jobs.records.sampling import NOTHING_SAID
from jobs.stores.protocol import JobStore
from jobs.templates.conversation import read_conversation, sources_of
from jobs.templates.row_template import RowTemplate
from tests.cli.conftest import Cli


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("key,text,gold\nr1,Great!,positive\nr2,Awful.,negative\n")
    return path


def test_a_template_and_a_system_message_of_files_make_the_prompts(
    cli: Cli, store: JobStore, reviews: Path, tmp_path: Path
) -> None:
    (tmp_path / "template.txt").write_text("Positive or negative? {{ text }}\n")
    (tmp_path / "system.txt").write_text("Answer in one word.\n")
    files = ("--template", f"@{tmp_path}/template.txt", "--system", f"@{tmp_path}/system.txt")
    done = cli("submit", reviews, *files, "--id-column", "key")
    assert done.returncode == 0, done.stderr
    prompts = [prompt for prompt, _ in store.jobs.lines(ShardRef(done.stdout.strip(), 0))]
    assert [prompt.id for prompt in prompts] == ["r1", "r2"]
    assert prompts[0].messages == (
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Positive or negative? Great!"},
    )


def test_a_column_whose_name_is_not_one_word_is_suggested_and_can_be_used(
    cli: Cli, store: JobStore, tmp_path: Path
) -> None:
    path = tmp_path / "essays.csv"
    path.write_text("Student ID,Essay text,Gold label,row\n7,Snow is white.,A,5\n")
    refused = cli("submit", path)
    suggestion = re.search(r"Try --template '(.*?)'", " ".join(refused.stderr.split()))
    assert suggestion is not None
    assert suggestion[1] == '{{ row["Essay text"] }}'
    path.write_text("Student ID,Essay text,Gold label\n7,Snow is white.,A\n")
    done = cli("submit", path, "--template", suggestion[1], "--id-column", "Student ID")
    assert done.returncode == 0, done.stderr
    [(prompt, _)] = store.jobs.lines(ShardRef(done.stdout.strip(), 0))
    assert (prompt.id, prompt.messages) == ("7", ({"role": "user", "content": "Snow is white."},))
    assert json.loads(bytes(prompt.columns)) == {"Essay text": "Snow is white.", "Gold label": "A"}


def test_another_template_is_another_job_and_raw_text_uses_no_messages(
    cli: Cli, store: JobStore, reviews: Path
) -> None:
    first = cli("submit", reviews, "--template", "{{ text }}", "--raw")
    assert [prompt.text for prompt, _ in store.jobs.lines(ShardRef(first.stdout.strip(), 0))] == ["Great!", "Awful."]
    again = cli("submit", reviews, "--template", "{{ text }}", "--raw")
    other = cli("submit", reviews, "--template", "{{ text }}!", "--raw")
    assert again.stdout == first.stdout
    assert other.stdout != first.stdout


def test_the_columns_of_a_templated_row_are_kept_whatever_their_names(
    cli: Cli, store: JobStore, tmp_path: Path
) -> None:
    path = tmp_path / "data.jsonl"
    row = {
        "id": 1,
        "prompt": "a",
        "messages": 2,
        "n": 3,
        "stop": 4,
        "temperature": "hot",
        "temprature": 5,
        "model": "x",
    }
    path.write_text(json.dumps(row) + "\n")
    done = cli("submit", path, "--template", "{{ prompt }}", "--temperature", "0.5")
    assert (done.returncode, "has no effect" in done.stderr) == (0, False), done.stderr
    [(prompt, _)] = store.jobs.lines(ShardRef(done.stdout.strip(), 0))
    assert prompt.messages == ({"role": "user", "content": "a"},)
    assert prompt.settings == NOTHING_SAID
    assert json.loads(bytes(prompt.columns)) == {name: value for name, value in row.items() if name != "id"}
    chosen = cli("submit", path, "--template", "{{ prompt }}", "--keep", "prompt,n")
    [(prompt, _)] = store.jobs.lines(ShardRef(chosen.stdout.strip(), 0))
    assert json.loads(bytes(prompt.columns)) == {"prompt": "a", "n": 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--template", "{{ txt }}"), "the template fails: 'txt' is undefined; the row's columns are `key`"),
        (("--template", "{{ txt }}"), "Nothing was stored. Correct the template or the file."),
        (("--template", "Good? {text}"), "the template has {text} as plain text; the column is {{ text }}"),
        (("--template", "Good?"), "lines 1-2: the template names no column, so all rows would get the same prompt;"),
        (("--template", "Good?"), "{{ NAME }}, or add {# same #} to the template if all rows shall share one prompt"),
        (("--template", "Good?"), "the row's columns are `key`, `text`, `gold`"),
        (("--template", "{{ text"), "The template cannot be used"),
        (("--template", "{{ the text }}"), 'is written {{ row["two words"] }}'),
        (("--template", "{{ row['txt'] }}"), "has no attribute 'txt'; the row's columns are `key`"),
        (("--template", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"), "0.5 s"),
        (("--template", "@missing.txt"), "missing.txt cannot be read: No such file or directory"),
        (("--raw",), "--raw needs --template"),
        (("--id-column", "none"), "--id-column none needs --template"),
        (("--id-column", "nothing", "--template", "a"), "has no column `nothing`"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(
    cli: Cli, store: JobStore, reviews: Path, options: tuple[str, ...], said: str
) -> None:
    done = cli("submit", reviews, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert list(store.jobs.newest(1)) == []


YAML = """\
# A few examples before the question.
messages:
  - role: system
    content: Answer in one word.
  - {role: user, content: 'Positive or negative? Fine.'}
  - {role: assistant, content: positive}
  - role: user
    content: |
      Positive or negative?
      {{ text }}
"""
MESSAGES = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Positive or negative? Fine."},
    {"role": "assistant", "content": "positive"},
    {"role": "user", "content": "Positive or negative?\n{{ text }}\n"},
]


@pytest.mark.parametrize(("name", "content"), [("chat.yaml", YAML), ("chat.json", json.dumps({"messages": MESSAGES}))])
def test_a_template_file_may_be_a_conversation(
    cli: Cli, store: JobStore, reviews: Path, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    done = cli("submit", reviews, "--template", f"@{tmp_path / name}")
    assert done.returncode == 0, done.stderr
    prompts = [prompt for prompt, _ in store.jobs.lines(ShardRef(done.stdout.strip(), 0))]
    last = {"role": "user", "content": "Positive or negative?\nGreat!"}
    assert prompts[0].messages == (*MESSAGES[:3], last)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "c.yaml",
            "messages:\n  - role: user\n    content: {{ text }}\n",
            "Put quotes around a template that begins with {{",
        ),
        ("c.yaml", "messages:\n  - role: user\n    content: {{ text }} please\n", "c.yaml is not YAML in line 3: "),
        ("c.yml", "messages: [\n", "c.yml is not YAML in line 2: "),
        ("c.yaml", "{{ text }}", "c.yaml is no"),
        ("c.yaml", "", "c.yaml is no conversation: it has no key `messages`."),
        ("c.json", "[1]", "c.json is no conversation: it has no key `messages`."),
        ("c.json", '{"messages": []}', "`messages` of c.json must be a list of 1 to 100 messages."),
        ("c.json", '{"messages": "Hi"}', "`messages` of c.json must be a list"),
        (
            "c.json",
            '{"messages": [{"role": "usr", "content": ""}]}',
            "`messages[0].role` of c.json is 'usr'; it must be",
        ),
        (
            "c.json",
            '{"messages": [{"role": "user"}]}',
            "`messages[0]` of c.json must have exactly `role` and `content`.",
        ),
        (
            "c.json",
            '{"messages": [{"role": [], "content": ""}]}',
            "`messages[0].role` of c.json is a value of type list",
        ),
        (
            "c.json",
            '{"messages": [{"role": "user", "content": 5}]}',
            "`messages[0].content` of c.json is 5; it must be",
        ),
        (
            "c.json",
            '{"messages": [{"role": "user", "content": "a"}], "n": 2}',
            "c.json has the key `n`; only `messages`",
        ),
        ("c.json", '{"messages":', "c.json is not JSON: "),
        ("c.json", '{"messages": [{"role": "user", "content": "{{ a"}]}', "The template cannot be used: "),
        ("c.yaml", "a: " + "[" * 5000, "c.yaml is not YAML"),
        ("c.yaml", "a: !!python/object/apply:os.system [id]", "c.yaml is not YAML"),
    ],
)
def test_a_conversation_of_another_shape_is_refused_with_what_to_write(name: str, content: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        RowTemplate(sources_of(read_conversation(name, content)))
    assert said in str(refusal.value)


def test_the_command_says_what_a_conversation_lacks(bare_cli: Cli, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("messages: 5\n")
    done = bare_cli("check", reviews, "--template", "@chat.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: `messages` of chat.yaml must be a list of 1 to 100 messages.\n")
    (tmp_path / "chat.yaml").write_text(YAML)
    done = bare_cli("check", reviews, "--template", "@chat.yaml", "--raw")
    assert (done.returncode, "--raw needs --template with a text" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ('Answer {"x": 1} or {other}.', b'{"id": 7}', 'Answer {"x": 1} or {other}.'),
        ("{text} and {{ text }}", b'{"text": "Great!"}', "{text} and Great!"),
        ("{% raw %}{text}{% endraw %}", b'{"text": "Great!"}', "{text}"),
    ],
)
def test_single_braces_stay_plain_text_if_they_hold_no_column_or_the_template_has_others(
    template: str, row: bytes, text: str
) -> None:
    [(_, made)] = RowPrompts(PromptOptions(template)).lines([(1, row)])
    assert isinstance(made, TemplatedRow)
    assert made.line["messages"] == [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{{ text }}!", b'{"text": null}', "None!"),
        ("{{ text }}!", b'{"text": ""}', "!"),
        ('{{ text or "" }}!', b'{"text": null}', "!"),
    ],
)
def test_a_null_is_the_word_none_unless_the_template_leaves_it_out(template: str, row: bytes, text: str) -> None:
    [(_, made)] = RowPrompts(PromptOptions(template)).lines([(1, row)])
    assert isinstance(made, TemplatedRow)
    assert made.line["messages"] == [{"role": "user", "content": text}]


def test_a_notice_names_the_columns_whose_nulls_are_the_word_none(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    texts = [None, "a", None, ""]
    rows.write_text(
        "".join(f"{json.dumps({'id': str(n), 'text': text, 'gold': None})}\n" for n, text in enumerate(texts))
    )

    def notices(template: str) -> list[str]:
        options = ReadingOptions(prompts=PromptOptions(template))
        with PromptFile.open(str(rows), io.BytesIO(), options) as file:
            return file.check().report.notices()

    assert notices("Good? {{ text }}") == [
        "The column `text` has no value, so the prompt has the word None in its place: 2 lines. "
        '{{ text or "" }} leaves it empty.'
    ]
    assert notices("Good? {{ text or '' }}") == []
    assert notices("Good? {{ id }}") == []


def test_rows_share_one_prompt_if_the_template_says_so_or_they_have_only_ids(
    cli: Cli, store: JobStore, reviews: Path, tmp_path: Path
) -> None:
    (tmp_path / "ids.csv").write_text("id\na\nb\n")
    for path, template in ((reviews, "Write a poem.{# same #}"), (tmp_path / "ids.csv", "Write a poem.")):
        done = cli("submit", path, "--template", template)
        assert done.returncode == 0, done.stderr
        lines = store.jobs.lines(ShardRef(done.stdout.strip(), 0))
        assert [prompt.messages for prompt, _ in lines] == 2 * [({"role": "user", "content": "Write a poem."},)]
