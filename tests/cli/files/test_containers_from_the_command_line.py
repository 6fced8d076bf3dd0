"""`submit` takes every container, and its options name what the content cannot tell."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from jobs.records.job import ShardRef
from jobs.stores.protocol import JobStore
from tests.cli.conftest import Cli

JSONL = '{"id": "a", "prompt": "Hello"}\n{"id": "b", "prompt": "1;2"}\n'


def stored(cli: Cli, store: JobStore, *arguments: str | Path, stdin: bytes = b"") -> list[tuple[str, str | None]]:
    """The ids and texts of the job that `submit` with these arguments makes."""
    done = cli("submit", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [(prompt.id, prompt.text) for prompt, _ in store.jobs.lines(ShardRef(done.stdout.strip(), 0))]


CONTENTS = {
    "prompts.jsonl": JSONL.encode(),
    "prompts.jsonl.gz": gzip.compress(JSONL.encode()),
    "prompts.json": json.dumps([json.loads(line) for line in JSONL.splitlines()], indent=2).encode(),
    "prompts.csv": b"id,prompt\na,Hello\nb,1;2\n",
    "prompts.tsv": b"id\tprompt\na\tHello\nb\t1;2\n",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_gives_its_prompts_whatever_its_container(cli: Cli, store: JobStore, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[name])
    assert stored(cli, store, tmp_path / name) == [("a", "Hello"), ("b", "1;2")]


def test_compressed_prompts_come_from_standard_input_too(cli: Cli, store: JobStore) -> None:
    assert stored(cli, store, "-", stdin=CONTENTS["prompts.jsonl.gz"]) == [("a", "Hello"), ("b", "1;2")]


def test_the_user_can_name_the_format_and_the_delimiter(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("id:prompt\na:1,2\n")
    assert stored(cli, store, path, "--delimiter", ":") == [("a", "1,2")]
    assert stored(cli, store, path, "--lines") == [("1", "id:prompt"), ("2", "a:1,2")]
    assert stored(cli, store, path, "--input-format", "text", "--new") == [("1", "id:prompt"), ("2", "a:1,2")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--delimiter", "::"), "a delimiter is one character"),
        (("--delimiter", ";", "--input-format", "json"), "--delimiter applies only to CSV"),
        (("--lines", "--input-format", "json"), "--lines means --input-format text"),
        (("--input-format", "xlsx"), "'xlsx' is not one of 'jsonl'"),
    ],
)
def test_options_of_reading_that_contradict_each_other_are_refused(
    cli: Cli, options: tuple[str, ...], said: str
) -> None:
    done = cli("submit", "-", *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
