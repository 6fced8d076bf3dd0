"""Whole prompt files: what refuses one, and what comes out of one."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.files.formats.line_decoder import LineRules
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row import MAX_ROW_BYTES
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt

Write = Callable[[str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a prompt file and returns its path."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "prompts.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read(path: str, *, skip_invalid: bool = False, stdin: bytes = b"") -> list[Prompt]:
    with PromptFile.open(path, io.BytesIO(stdin)) as file:
        return list(file.check(skip_invalid=skip_invalid).prompts())


def refusal(path: str, *, skip_invalid: bool = False, stdin: bytes = b"") -> str:
    with pytest.raises(InvalidInput) as error:
        read(path, skip_invalid=skip_invalid, stdin=stdin)
    return str(error.value)


def test_lines_come_in_order_and_blank_ones_do_not_count(write: Write) -> None:
    prompts = read(write('\n{"prompt": "a"}\n  \t\n\r\n{"prompt": "b"}\r\n{"id": "c", "prompt": "c"}'))
    assert [(prompt.index, prompt.id, prompt.text) for prompt in prompts] == [
        (0, "2", "a"),
        (1, "5", "b"),
        (2, "c", "c"),
    ]


def test_a_byte_order_mark_before_the_first_line_is_tolerated(write: Write) -> None:
    assert [prompt.text for prompt in read(write('\ufeff{"prompt": "a"}\n'))] == ["a"]
    assert "line 2: the line is not JSON" in refusal(write('{"prompt": "a"}\n\ufeff{"prompt": "b"}\n'))


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_read_twice_like_a_file(compress: Callable[[bytes], bytes]) -> None:
    prompts = read("-", stdin=compress(b'{"prompt": "a"}\n{"prompt": "b"}\n'))
    assert [prompt.text for prompt in prompts] == ["a", "b"]


def test_a_pipe_is_read_twice_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[b'{"prompt": "a"}\n'])
    writer.start()
    assert [prompt.text for prompt in read(str(pipe))] == ["a"]
    writer.join()


def test_a_stream_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write_only = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    with os.fdopen(write_only, "rb") as stream, pytest.raises(InvalidInput, match="Bad file descriptor"):
        PromptFile.open("-", stream)


def test_a_report_says_what_the_file_is(write: Write) -> None:
    path = write('{"custom_id": "a", "body": {}}\n\n{"custom_id": "b", "body": {}}\n')
    good = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    line = {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": good}
    with Path(path).open("a") as file:
        file.write(json.dumps(line))
    with PromptFile.open(path, io.BytesIO()) as file_:
        report = file_.check(skip_invalid=True).report
    assert (report.name, report.format, report.num_lines) == (path, "openai", 3)
    assert report.bad_lines.describe().startswith("  lines 1, 3: ")


def test_equal_files_have_equal_digests_and_others_have_not(write: Write) -> None:
    def digest(content: str) -> str:
        with PromptFile.open(write(content), io.BytesIO()) as file:
            return file.check().report.digest

    assert digest('{"prompt": "a"}\n') == digest('{"prompt": "a"}\n')
    assert digest('{"prompt": "a"}\n') != digest('{"prompt": "b"}\n')
    assert digest('{"prompt": "a"}\n') != digest('{"prompt": "a"}\n\n')


def test_a_missing_file_and_an_empty_name_are_named(tmp_path: Path) -> None:
    assert refusal("").startswith("The name of a file of prompts is empty. Name a file of prompts, such as JSONL")
    assert f"There is no file {tmp_path}/no.jsonl." in refusal(f"{tmp_path}/no.jsonl")


def test_a_missing_file_with_a_similar_name_beside_it_is_suggested(tmp_path: Path) -> None:
    assert "Did you mean" not in refusal(f"{tmp_path}/review.csv")
    (tmp_path / "reviews.csv").write_text("prompt\nHello\n")
    assert f"Did you mean {tmp_path}/reviews.csv?" in refusal(f"{tmp_path}/review.csv")


def test_a_file_below_a_file_is_refused(write: Write) -> None:
    assert "cannot be read: Not a directory." in refusal(write("x") + "/y")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory" in refusal(str(tmp_path))


@pytest.mark.parametrize("content", ["", "\n\n  \n", "\ufeff", "\ufeff\n"])
@pytest.mark.parametrize("skip_invalid", [True, False])
def test_an_empty_file_is_refused(write: Write, content: str, skip_invalid: bool) -> None:
    path = write(content)
    assert refusal(path, skip_invalid=skip_invalid).startswith(f"{path} is empty.")
    assert refusal("-", stdin=content.encode()).startswith("standard input is empty.")


def test_a_file_that_is_not_utf8_is_refused_with_the_place(write: Write) -> None:
    message = refusal(write('{"prompt": "a"}\n{"prompt": "café"}\n'.encode("latin-1")))
    assert "1 of 2 lines are invalid" in message
    assert "line 2: the line is not UTF-8: byte 0xe9 at position 16" in message


def test_a_file_that_is_utf16_is_told_how_to_become_utf8(write: Write) -> None:
    assert "is UTF-16; it must be UTF-8. Convert it with" in refusal(write('{"prompt": "a"}\n'.encode("utf-16")))


def test_a_compressed_file_is_decompressed(write: Write) -> None:
    assert [prompt.text for prompt in read(write(gzip.compress(b'{"prompt": "a"}\n')))] == ["a"]


def test_one_bad_line_among_good_ones_refuses_the_file(write: Write) -> None:
    message = refusal(write('{"prompt": "a"}\n{"prompt": \n{"prompt": "c"}\n'))
    assert "1 of 3 lines are invalid.\n  line 2: the line is not JSON" in message
    assert "Nothing was stored." in message
    assert "--skip-invalid" in message


def test_twenty_faults_are_reported_in_full_and_the_lines_of_the_rest_by_number(write: Write) -> None:
    good = '{"prompt": "x"}'
    lines = [good if number in (23, 24, 29) else f'{{"prompt": {number}}}' for number in range(1, 33)]
    message = refusal(write("\n".join(lines)))
    assert "29 of 32 lines are invalid" in message
    assert message.count(": `prompt` is ") == 20
    assert "line 20: `prompt` is 20" in message
    assert "  and other faults of 9 lines: 21-22, 25-28, 30-32\n" in message


def test_equal_faults_of_several_lines_are_one_entry(write: Write) -> None:
    bad = {*range(1, 51), 73, *range(80, 96, 2)}
    lines = ["{" if number in bad else '{"prompt": "x"}' for number in range(1, 101)]
    message = refusal(write("\n".join(lines)))
    assert "59 of 100 lines are invalid" in message
    assert "\n  lines 1-50, 73, 80, 82, 84 and 5 more: the line is not JSON" in message


def test_each_fault_of_a_line_is_an_entry(write: Write) -> None:
    line = '{"prompt": 5, "max_tokens": 0, "id": [1], "temprature": 1}'
    message = refusal(write('{"prompt": "x"}\n' + line))
    assert "1 of 2 lines are invalid" in message
    for fault in ("`prompt` is 5", "`max_tokens` is 0", "`id` is a list of 1", '"temprature" is not a known key'):
        assert f"\n  line 2: {fault}" in message


def test_a_message_about_a_file_has_at_most_four_kilobytes_of_faults(write: Write) -> None:
    lines = [json.dumps({"prompt": "x", f"{'k' * 58}{number}": 1, "stop": "x" * 2000}) for number in range(20)]
    lines += [json.dumps({"messages": [{"role": f"{'r' * 50}{n}-{m}"} for m in range(20)]}) for n in range(20)]
    assert len(refusal(write("\n".join(lines)))) < 5500


def test_a_file_without_a_good_line_is_refused_even_if_bad_ones_may_be_skipped(write: Write) -> None:
    message = refusal(write("{\n{"), skip_invalid=True)
    assert "2 of 2 lines are invalid" in message
    assert "--skip-invalid" not in message


def test_duplicate_ids_are_refused_with_both_lines(write: Write) -> None:
    lines = ['{"id": "a", "prompt": "x"}', '{"id": "b", "prompt": "x"}', '{"id": "a", "prompt": "y"}']
    assert 'line 3: the id "a" is also the id of line 1' in refusal(write("\n".join(lines)))


def test_an_id_may_not_be_the_number_of_a_line_that_names_none(write: Write) -> None:
    assert 'line 2: the id "2" is also the id of line 1' in refusal(
        write('{"id": "2", "prompt": "x"}\n{"prompt": "y"}')
    )


def test_every_id_of_a_large_file_is_known_again(write: Write) -> None:
    lines = [f'{{"id": "q-{number}", "prompt": "x"}}' for number in range(5000)]
    assert len(read(write("\n".join(lines)))) == 5000
    message = refusal(write("\n".join(lines * 2)))
    assert 'line 5,001: the id "q-0" is also the id of line 1' in message
    assert "5,000 of 10,000 lines are invalid" in message
    assert "and other faults of 4,980 lines: 5,021-10,000" in message


def test_skipped_lines_stay_in_their_place_and_say_why(write: Write) -> None:
    lines = ['{"prompt": "a"}', "{", '{"id": "c", "prompt": "c", "max_tokens": 0}', '{"id": "c", "prompt": "d"}']
    prompts = read(write("\n".join(lines)), skip_invalid=True)
    assert [(prompt.id, prompt.line) for prompt in prompts] == [("1", None), ("", 2), ("c", None), ("", 4)]
    assert [prompt.index for prompt in prompts] == [0, 1, 2, 3]
    assert [prompt.invalid is None for prompt in prompts] == [True, False, False, False]
    assert "`max_tokens` is 0" in str(prompts[2].invalid)


def test_the_number_of_a_bad_line_is_no_id_and_another_line_may_have_it(write: Write) -> None:
    lines = ["{", '{"id": "1", "prompt": "a"}', '{"promt": "b"}', '{"id": "3", "prompt": "c"}', '{"prompt": "d"}']
    prompts = read(write("\n".join(lines)), skip_invalid=True)
    named = [(prompt.id, prompt.line, prompt.invalid is None) for prompt in prompts]
    assert named == [("", 1, False), ("1", None, True), ("", 3, False), ("3", None, True), ("5", None, True)]


def test_lines_are_checked_against_the_models_card(write: Write, card: ModelCard) -> None:
    with PromptFile.open(write('{"prompt": [5, 1000]}\n'), io.BytesIO()) as file:
        file.check()
        with pytest.raises(InvalidInput, match="the vocabulary of demo is from 0 to 999"):
            file.check(LineRules(card=card))


def test_a_line_of_just_the_limit_is_read(write: Write) -> None:
    frame = '{"prompt": ""}'
    line = f'{{"prompt": "{"x" * (MAX_ROW_BYTES - len(frame))}"}}'
    assert len(line) == MAX_ROW_BYTES
    assert len(read(write(f"{line}\n{line.replace('x', 'y')}"))) == 2


def test_a_line_over_the_limit_is_refused_without_being_held_whole(write: Write) -> None:
    path = write(b'{"prompt": "a"}\n{"prompt": "' + b"x" * 50_000_000 + b'"}\n{"prompt": "c"}\n')
    tracemalloc.start()
    message = refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "1 of 3 lines are invalid" in message
    assert "line 2: the line is longer than 10 MiB" in message
    assert peak < 3 * MAX_ROW_BYTES


def test_a_last_line_over_the_limit_ends_the_file(write: Write) -> None:
    path = write(b'{"prompt": "a"}\n' + b"x" * (MAX_ROW_BYTES + 1))
    assert "1 of 2 lines are invalid" in refusal(path)


def test_memory_is_flat_whatever_the_size_of_the_file(write: Write) -> None:
    line = '{"id": "q-%d", "prompt": "' + "x" * 1000 + '"}'
    path = write("\n".join(line % number for number in range(20_000)))
    tracemalloc.start()
    with PromptFile.open(path, io.BytesIO()) as file:
        count = sum(1 for _ in file.check().prompts())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 5 * 2**20 < Path(path).stat().st_size  # buffers, and 32 bytes an id


@pytest.mark.parametrize("new", ['{"prompt": "A"}\n{"prompt": "b"}\n', '{"prompt": "a"}\n', "{\n", "", "x" * 100])
def test_a_file_that_changes_between_the_passes_is_refused(write: Write, new: str) -> None:
    path = write('{"prompt": "a"}\n{"prompt": "b"}\n')
    with PromptFile.open(path, io.BytesIO()) as file:
        checked = file.check()
        write(new)
        with pytest.raises(InvalidInput, match="changed while it was being read"):
            list(checked.prompts())


def test_a_file_that_grows_between_the_passes_is_refused_before_the_new_line(write: Write) -> None:
    path = write('{"prompt": "a"}\n')
    with PromptFile.open(path, io.BytesIO()) as file:
        checked = file.check()
        with Path(path).open("a") as more:
            more.write('{"prompt": "b"}\n')
        prompts = checked.prompts()
        assert next(prompts).text == "a"
        with pytest.raises(InvalidInput, match="changed while it was being read"):
            next(prompts)


def test_a_file_that_goes_between_the_passes_is_an_error(write: Write) -> None:
    path = write('{"prompt": "a"}\n')
    with PromptFile.open(path, io.BytesIO()) as file:
        checked = file.check()
        Path(path).unlink()
        with pytest.raises(InvalidInput, match="cannot be read: No such file"):
            list(checked.prompts())
