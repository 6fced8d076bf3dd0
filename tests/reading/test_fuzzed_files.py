"""Random files, rows and options end in a job or in one error. Nothing is stored of a refused file.

`QWEN_BATCH_FUZZED_FILES=100000 pytest -m slow tests/reading/test_fuzzed_files.py` tries more files.
"""

from __future__ import annotations

import io
import os
import random
import sys
import time
from functools import cache
from itertools import count
from typing import Any

import pyarrow
import pytest

from jobs.errors import InvalidInput, QwenBatchError
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_prompts import PromptOptions, RowPrompts
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.records.job import ShardRef
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from jobs.submission.submit_options import LineOptions, SubmitOptions
from tests.formats.submission.submitting import Hints, submit_file
from tests.reading.containers import COMPRESSIONS, CONTAINERS, damaged, jsonl

pytestmark = pytest.mark.slow

FILES = int(os.environ.get("QWEN_BATCH_FUZZED_FILES", "1500"))
MAX_CPU_SECONDS = 20  # for one small file; a reader that hangs takes more

NAMES = (
    *("id", "prompt", "messages", "model", "n", "stop", "seed", "temperature", "max_tokens", "tools", "tool_choice"),
    *("custom_id", "method", "url", "body", "params", "request", "recordId", "modelInput", "conversations"),
    *("response_format", "guided_regex", "logit_bias", "extra_body", "chat_template_kwargs", "stream", "user"),
    *("question", "text", "answer", "temprature", "a b", "", "é", "{{ x }}"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**40, 2**70, 0.5, -0.0, 1e300, "", "x", "Why?", "\u2028", "\x00", 'a,b\n"c"\t'),
    *([], {}, "POST", "/v1/chat/completions", "/v1/responses", "json_object", "=1+1", "é" * 300),
    [{"role": "user", "content": "Hi"}],
    [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Yes."}],
    [{"from": "human", "value": "Hi"}],
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
    {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
)
# Few, because each template has a helper process.
OPTIONS = (
    *(PromptOptions(), PromptOptions(), PromptOptions(system="Be brief."), PromptOptions(id_column="text")),
    PromptOptions("{{ prompt }}", raw=True),
    PromptOptions("{{ text }} {{ answer }}", system="Be brief."),
    PromptOptions("{% if n %}{{ n }}{% endif %}", raw=True, id_column="id"),
    PromptOptions("Hi{# same #}", number_rows=True),
)


def value(luck: random.Random, depth: int = 0) -> Any:
    """A value of JSON."""
    match luck.randrange(8):
        case 0 if depth < 3:
            return [value(luck, depth + 1) for _ in range(luck.randrange(3))]
        case 1 if depth < 3:
            return {luck.choice(NAMES): value(luck, depth + 1) for _ in range(luck.randrange(3))}
        case _:
            return luck.choice(VALUES)


def rows(luck: random.Random) -> list[dict[str, Any]]:
    """A few rows. Half of them could run if nothing is added to them."""
    found = []
    for number in range(luck.randint(1, 5)):
        row = {"id": f"q{number}", "prompt": "Why?"} if luck.random() < 0.5 else {}
        row |= {luck.choice(NAMES): value(luck) for _ in range(luck.choice([0, 0, 1, 3]))}
        found.append(row or {"prompt": value(luck)})
    return found


def content(luck: random.Random) -> bytes:
    """The content of a file in any container. It may be damaged, and compressed."""
    container, some = luck.choice(CONTAINERS), rows(luck)
    try:
        whole = container(some)
    except (pyarrow.ArrowException, OverflowError, ValueError):  # a table's column has one type
        whole = jsonl(some)
    if luck.random() < 0.02:
        whole = luck.randbytes(luck.randrange(200))
    if whole and luck.random() < 0.4:
        whole = damaged(whole, luck)
    if luck.random() < 0.7:
        return whole
    packed = luck.choice(COMPRESSIONS)(whole)
    return damaged(packed, luck) if packed and luck.random() < 0.2 else packed


@cache
def maker(options: PromptOptions) -> RowPrompts | None:
    """Files share the helper process of a template."""
    return RowPrompts(options) if options.changes_rows else None


def submitted(luck: random.Random, store: JobStore) -> int:
    """Submit a random file. Returns its number of lines."""
    file = content(luck)
    prompts = luck.choice(OPTIONS)
    reader = RowReader.of("file", lambda: io.BytesIO(file), ReadingOptions(prompts=prompts), maker(prompts))
    lines = LineOptions(any_model=luck.random() < 0.5, n=luck.choice([1, 1, 2]))
    options = SubmitOptions("demo", skip_invalid=luck.random() < 0.5, lines=lines)
    with PromptFile(["file"], [reader], lambda: None) as opened:
        opened.columns()
        opened.first_model()
        spec = submit_file(store, Hints(), opened, options).job.spec
    shards = (store.jobs.lines(ShardRef(spec.id, index)) for index in count())
    found: list[int] = []
    while len(found) < spec.num_lines:
        found += [prompt.index for prompt, _ in next(shards)]
    assert found == list(range(spec.num_lines))
    return spec.num_lines


def refusal(luck: random.Random, store: JobStore) -> QwenBatchError | None:
    """Submit a random file. Returns why it is refused, or None."""
    try:
        assert submitted(luck, store) > 0
    except QwenBatchError as error:
        return error
    return None


def test_a_random_file_is_a_job_or_one_error() -> None:
    jobs = 0
    for number in range(FILES):
        note(number)
        store = MemoryJobStore(time.time)
        before = time.process_time()
        found = refusal(random.Random(f"file {number}"), store)
        assert time.process_time() - before < MAX_CPU_SECONDS
        if found is None:
            jobs += 1
            continue
        assert isinstance(found, InvalidInput)
        assert len(str(found)) < 6000
        assert list(store.jobs.newest(1)) == []
    assert FILES // 10 < jobs < FILES - FILES // 10


def note(number: int) -> None:
    """Write the number of the file, so that the output of a failed test names it."""
    sys.stderr.write(f"\rfile {number}")
