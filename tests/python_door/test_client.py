"""Submit, look, wait and cancel from Python, on a real server."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

import qwen_batch
from jobs.records.job import ShardRef
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.command_line import REPOSITORY
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import run_job

ROWS = [{"question": f"What is {number} + 1?", "answer": number + 1} for number in range(40)]
PROMPTS = [{"prompt": row["question"]} for row in ROWS]


@pytest.fixture
def store(server: ValkeyProcess) -> JobStore:
    return connect(server.url)


def test_rows_come_back_with_their_columns(client: qwen_batch.Client, store: JobStore) -> None:
    job = client.submit(ROWS, template="{{ question }}", system="Be brief.", max_tokens=8, priority=3)
    spec = store.jobs.get(job.id).spec
    assert (spec.model, spec.source, spec.priority, spec.defaults.max_tokens) == ("demo", "the list", 3, 8)
    run_job(store, job.id)
    results = list(job.results())
    assert [result.input for result in results] == ROWS
    assert [result.completion for result in results][:2] == ["answer to 1", "answer to 2"]
    assert [result.id for result in job.results("finished")] == [result.id for result in results]


def test_a_template_may_be_messages(client: qwen_batch.Client, store: JobStore) -> None:
    template = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{ question }}"}]
    job = client.submit(ROWS[:1], template=template)
    ((prompt, _),) = store.jobs.lines(ShardRef(job.id, 0))
    assert prompt.messages == (template[0], {"role": "user", "content": "What is 0 + 1?"})


def test_results_become_tables_with_the_types_of_the_rows(
    client: qwen_batch.Client, store: JobStore, tmp_path: Path
) -> None:
    rows = pandas.DataFrame(
        {
            "question": ["a", "b", "c"],
            "small": pandas.array([1, None, 3], dtype="Int16"),
            "day": [datetime.date(2026, 1, 2)] * 3,
            "tags": [["x"], [], ["y", "z"]],
        }
    )
    job = client.submit(rows, template="{{ question }}")
    run_job(store, job.id, fail=frozenset({"2"}))
    table = job.to_arrow()
    assert [str(table.schema.field(name).type) for name in ("small", "day")] == ["int16", "date32[day]"]
    assert table.column("completion").to_pylist() == ["answer to 1", None, "answer to 3"]
    assert table.column("tags").to_pylist() == [["x"], [], ["y", "z"]]
    frame = job.to_pandas()
    assert list(frame["error"].fillna("")) == ["", "prompt_too_long", ""]
    job.write(tmp_path / "answers.csv")
    header, first, *_ = (tmp_path / "answers.csv").read_text().splitlines()
    assert header.startswith("id,question,small,day,tags,completion,")
    assert first.startswith("1,a,1,2026-01-02,")
    with pytest.raises(qwen_batch.OutputNotWritable, match="nowhere"):
        job.write(tmp_path / "nowhere" / "answers.csv")


def test_wait_returns_the_status_of_the_ended_job(
    client: qwen_batch.Client, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    job = client.submit(PROMPTS)
    with pytest.raises(TimeoutError, match=rf"Job {job.id} has not ended after 0 s\. It goes on\."):
        job.wait(timeout=0, progress=False)
    assert job.status().state == "queued"
    run_job(store, job.id)
    status = job.wait()
    assert (status.state, status.completed, status.total) == ("completed", 40, 40)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "completed: 40/40 lines\n")


def test_the_same_rows_make_one_job_unless_a_new_one_is_wanted(client: qwen_batch.Client) -> None:
    first = client.submit(PROMPTS)
    assert client.submit(iter(PROMPTS)).id == first.id
    assert client.submit(PROMPTS, temperature=0).id != first.id
    assert client.submit(PROMPTS, new=True).id != first.id
    named = client.submit(PROMPTS[:3], key="nightly")
    assert client.submit(PROMPTS[:5], key="nightly").id == named.id
    assert len(client.jobs()) == 4


def test_a_job_can_be_found_cancelled_and_deleted(client: qwen_batch.Client, server: ValkeyProcess) -> None:
    job = qwen_batch.job(client.submit(PROMPTS).id, redis_url=server.url)
    job.cancel()
    assert job.wait(progress=False).state == "cancelled"
    assert {result.error.code for result in job.results() if result.error} == {"cancelled"}
    job.delete()
    with pytest.raises(qwen_batch.JobNotFound):
        qwen_batch.job(job.id, redis_url=server.url)


def test_what_the_author_should_know_is_a_warning(client: qwen_batch.Client) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "a", "model": "gpt-4o-mini", "user": "me"}]
    with pytest.warns(UserWarning, match="demo answers it|has no effect") as notices:
        client.submit(rows, model="demo")
    assert [str(notice.message) for notice in notices] == [
        "1 line names gpt-4o-mini; demo answers it.",
        "`user` has no effect here: 1 line.",
    ]
    assert notices[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"temprature": 1}, TypeError, "submit() has no argument 'temprature'. Did you mean 'temperature'?"),
        ({"temperature": 11}, qwen_batch.InvalidInput, "An argument cannot be used: `temperature` is 11; it must be"),
        ({"max_tokens": "8"}, qwen_batch.InvalidInput, 'An argument cannot be used: `max_tokens` is "8"; it must be'),
        ({"min_tokens": 9, "max_tokens": 8}, qwen_batch.InvalidInput, "`min_tokens` is 9; it must be at most"),
        ({"raw": True}, qwen_batch.InvalidInput, "`raw` needs a text as `template`"),
        ({"id_column": "none"}, qwen_batch.InvalidInput, "`id_column` is 'none', which needs a `template`"),
        ({"template": "{{ x"}, qwen_batch.InvalidInput, "The template cannot be used"),
        ({"template": [{"role": "me"}]}, qwen_batch.InvalidInput, "`messages[0]` of `template` must have exactly"),
        ({"input_format": "xls"}, qwen_batch.InvalidInput, "`input_format` is 'xls'; it must be one of jsonl, json"),
        ({"redis_url": "http://x"}, qwen_batch.InvalidInput, ""),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_stored(
    client: qwen_batch.Client, server: ValkeyProcess, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as refusal:
        qwen_batch.submit(PROMPTS, **({"redis_url": server.url} | arguments))
    assert said in str(refusal.value)
    assert client.jobs() == []


def test_the_advice_about_bad_rows_begins_on_a_line_of_its_own(client: qwen_batch.Client) -> None:
    with pytest.raises(qwen_batch.InvalidInput) as refusal:
        client.submit([{"q": "a"}], template="{{ qq }}")
    assert [line.strip() for line in str(refusal.value).splitlines()] == [
        "the list cannot be submitted: the only line is invalid.",
        "line 1: the template fails: 'qq' is undefined; the row's columns are `q`",
        "Nothing was stored. Correct the template or the file.",
    ]


def test_settings_may_be_lists_or_tuples(client: qwen_batch.Client, store: JobStore) -> None:
    job = client.submit(PROMPTS, stop=("a", "b"), stop_token_ids=[7], ignore_eos=True)
    defaults = store.jobs.get(job.id).spec.defaults
    assert (defaults.stop, defaults.stop_token_ids, defaults.ignore_eos) == (("a", "b"), (7,), True)


WAITING = """
import sys
import qwen_batch
job = qwen_batch.submit([{"prompt": "a"}], redis_url=sys.argv[1])
try:
    print(job.id, flush=True)
    job.wait()
except KeyboardInterrupt:
    print("torch" in sys.modules, job.status().state)
"""


def test_ctrl_c_leaves_a_job_that_goes_on(client: qwen_batch.Client, server: ValkeyProcess) -> None:
    program = [sys.executable, "-P", "-c", WAITING, server.url]
    with subprocess.Popen(program, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        job_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert said == "False queued\n"
    assert client.job(job_id).status().state == "queued"
