"""`submit` takes every container, and its options name what the content cannot tell."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard

from jobs.records.job import ShardRef
from jobs.stores.protocol import JobStore
from tests.cli.conftest import Cli
from tests.reading.containers import arrow_file, arrow_stream, json_array, parquet_file

ROWS = [{"id": "a", "prompt": "Hello"}, {"id": "b", "prompt": "1;2"}]
JSONL = '{"id": "a", "prompt": "Hello"}\n{"id": "b", "prompt": "1;2"}\n'


def stored(cli: Cli, store: JobStore, *arguments: str | Path, stdin: bytes = b"") -> list[tuple[str, str | None]]:
    """The ids and texts of the job that `submit` with these arguments makes."""
    done = cli("submit", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [(prompt.id, prompt.text) for prompt, _ in store.jobs.lines(ShardRef(done.stdout.strip(), 0))]


CONTENTS = {
    "prompts.jsonl": JSONL.encode(),
    "prompts.jsonl.gz": gzip.compress(JSONL.encode()),
    "prompts.jsonl.zst": zstandard.ZstdCompressor().compress(JSONL.encode()),
    "prompts.jsonl.bz2": bz2.compress(JSONL.encode()),
    "prompts.jsonl.xz": lzma.compress(JSONL.encode()),
    "data.json": json_array(ROWS),
    "prompts.parquet": parquet_file(ROWS),
    "prompts.parquet.gz": gzip.compress(parquet_file(ROWS)),
    "prompts.arrow": arrow_file(ROWS),
    "prompts.feather": arrow_stream(ROWS),
    "prompts.json": json.dumps([json.loads(line) for line in JSONL.splitlines()], indent=2).encode(),
    "prompts.csv": b"id,prompt\na,Hello\nb,1;2\n",
    "prompts.tsv": b"id\tprompt\na\tHello\nb\t1;2\n",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_gives_its_prompts_whatever_its_container(cli: Cli, store: JobStore, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[name])
    assert stored(cli, store, tmp_path / name) == [("a", "Hello"), ("b", "1;2")]


def test_each_line_of_a_text_file_is_a_prompt(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Hello\n\n1;2\n")
    assert stored(cli, store, tmp_path / "prompts.txt") == [("1", "Hello"), ("3", "1;2")]


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
