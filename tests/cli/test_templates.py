"""`submit` makes prompts of rows with `--template` and `--system`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.records.job import ShardRef
from jobs.records.sampling import NOTHING_SAID
from jobs.stores.protocol import JobStore
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
        (("--template", "{{ text"), "The template cannot be used"),
        (("--template", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"), "0.5 s"),
        (("--template", "@missing.txt"), "missing.txt cannot be read: No such file or directory"),
        (("--raw",), "--raw needs --template"),
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
