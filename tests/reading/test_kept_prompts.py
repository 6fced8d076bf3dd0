"""A check keeps the prompts of costly files on disk. Then the files are not read a second time."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from jobs.errors import InvalidInput
from jobs.files import prompt_spool
from jobs.files.prompt_file import PromptFile
from jobs.files.prompt_spool import PromptSpool
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from jobs.records.prompt import Prompt
from jobs.stores.packing import pack_prompts

CSV = 'id,text,gold\nq-1,"Grüße, Welt",1\nq-2,too,many,cells\nq-3,"two\nlines",2\n'
TEMPLATE = ReadingOptions(prompts=PromptOptions("Good? {{ text }}"))
# Lines of a block: each prompt in a block of its own, and all of them in one block.
SIZES = (1, 256)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return path


@contextmanager
def opened(*paths: Path, options: ReadingOptions = TEMPLATE) -> Iterator[PromptFile]:
    with PromptFile.open([str(path) for path in paths], io.BytesIO(), options) as file:
        yield file


def during_the_check(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Make every check with kept prompts call `act` when it has read the file."""
    finish = PromptSpool.finish

    def acting(self: PromptSpool) -> bool:
        act()
        return finish(self)

    monkeypatch.setattr(PromptSpool, "finish", acting)


@pytest.mark.parametrize("block_lines", SIZES)
def test_kept_prompts_are_those_of_a_second_pass(rows: Path, monkeypatch: pytest.MonkeyPatch, block_lines: int) -> None:
    monkeypatch.setattr(prompt_spool, "_BLOCK_LINES", block_lines)
    lines = rows.with_name("lines.jsonl")
    lines.write_text('{"text": "a", "scores": [1.50, null, {"x": "y"}]}\n')
    with opened(rows, lines) as file:
        again = list(file.check(skip_invalid=True).prompts())
        checked = file.check(skip_invalid=True, keep=True)
        kept = [list(checked.prompts()) for _ in range(2)]
    assert kept == [again, again]
    assert [prompt.id for prompt in again] == ["q-1", "", "q-3", "4"]
    assert all(
        msgspec.json.encode(one) == msgspec.json.encode(other) for one, other in zip(kept[0], again, strict=True)
    )


def test_a_file_that_changes_after_its_check_is_stored_as_it_was_checked(rows: Path) -> None:
    rows.write_text("text\na\nb\n")
    with opened(rows) as file:
        checked = file.check(keep=True)
        rows.write_text("text\nc\n")
        assert [prompt.id for prompt in checked.prompts()] == ["1", "2"]
        rows.unlink()
        assert [prompt.messages for prompt in checked.prompts()] == [
            ({"role": "user", "content": "Good? a"},),
            ({"role": "user", "content": "Good? b"},),
        ]


@pytest.mark.parametrize("content", ["text\na\nb\nc\n", "text\na\nx\n"])
def test_a_file_that_changes_during_its_check_is_refused(
    rows: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    rows.write_text("text\na\nb\n")
    during_the_check(monkeypatch, lambda: rows.write_text(content))
    with opened(rows) as file:
        checked = file.check(keep=True)
        with pytest.raises(InvalidInput, match="changed while it was being read"):
            list(checked.prompts())


def test_a_file_that_goes_during_its_check_is_an_error(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.write_text("text\na\n")
    during_the_check(monkeypatch, rows.unlink)
    with opened(rows) as file, pytest.raises(InvalidInput, match="cannot be read: No such file"):
        list(file.check(keep=True).prompts())


def test_a_file_that_is_only_touched_during_its_check_is_read_again(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.write_text("text\na\n")
    during_the_check(monkeypatch, lambda: os.utime(rows))
    with opened(rows) as file:
        assert len(list(file.check(keep=True).prompts())) == 1


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize("trouble", ["no space", "full", "no folder", "short write"])
def test_without_room_on_the_disk_the_file_is_read_again(
    rows: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    rows.write_text("text\n" + "a\n" * 100)
    monkeypatch.setattr(prompt_spool, "_BLOCK_LINES", 1)
    temporary = tempfile.TemporaryFile

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if trouble == "no space":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000))
    elif trouble == "no folder":
        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    else:

        class Full(io.BytesIO):
            def write(self, data: object) -> int:
                if trouble == "full":
                    fail()
                return 1

        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with opened(rows) as file:
        checked = file.check(keep=True)
        monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
        assert [prompt.index for prompt in checked.prompts()] == list(range(100))


def test_the_temporary_file_goes_with_the_end_of_the_block(rows: Path) -> None:
    def deleted_files() -> int:
        return sum(
            str(link.readlink()).endswith("(deleted)") for link in Path("/proc/self/fd").iterdir() if link.exists()
        )

    before = deleted_files()
    with opened(rows) as file:
        for _ in range(3):
            file.check(skip_invalid=True, keep=True)
        with pytest.raises(InvalidInput):
            file.check(keep=True)
        assert deleted_files() == before + 1
    assert deleted_files() == before


def test_lines_of_prompts_in_jsonl_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromptSpool, "add", lambda *_: pytest.fail("a prompt was kept"))
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n')
    with opened(path, options=ReadingOptions()) as file:
        assert [prompt.text for prompt in file.check(keep=True).prompts()] == ["a"]


def test_memory_is_flat_whatever_the_size_of_the_file(rows: Path) -> None:
    with rows.open("w") as file_of_rows:
        file_of_rows.write("text\n")
        file_of_rows.writelines(f"{number}{'x' * 1000}\n" for number in range(20_000))
    tracemalloc.start()
    with opened(rows) as file:
        count = sum(1 for _ in file.check(keep=True).prompts())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8 * 2**20 < rows.stat().st_size


@pytest.mark.parametrize(("block_lines", "block_bytes"), [(2, 2**20), (256, 1)])
def test_kept_prompts_are_packed_in_shards_only_if_all_blocks_have_the_size_of_a_shard(
    rows: Path, monkeypatch: pytest.MonkeyPatch, block_lines: int, block_bytes: int
) -> None:
    monkeypatch.setattr(prompt_spool, "_BLOCK_LINES", block_lines)
    monkeypatch.setattr(prompt_spool, "_BLOCK_BYTES", block_bytes)
    with opened(rows) as file:
        checked = file.check(skip_invalid=True, keep=True)
        prompts = list(checked.prompts())
        size = 2 if block_bytes > 1 else 1  # a block of too many bytes ends early
        packed = checked.packed(size)
        assert packed is not None
        assert list(packed) == [pack_prompts(prompts[first : first + size]) for first in range(0, 3, size)]
        assert [other for other in (1, 2, 3, 256) if checked.packed(other) is not None] == [size]


def test_a_last_block_that_is_larger_than_a_shard_is_not_packed(rows: Path) -> None:
    with opened(rows) as file:
        checked = file.check(skip_invalid=True, keep=True)
        assert checked.packed(2) is None
        packed = checked.packed(3)
        assert packed is not None
        assert list(packed) == [pack_prompts(list(checked.prompts()))]


def test_a_damaged_temporary_file_is_an_error() -> None:
    spool = PromptSpool()
    spool.add(Prompt(0, "a", "text"))
    assert spool.finish()
    assert spool._file is not None
    os.pwrite(spool._file.fileno(), b"x", 0)
    with pytest.raises(InvalidInput, match="The temporary file of checked prompts cannot be read"):
        list(spool.prompts())
    spool.close()
