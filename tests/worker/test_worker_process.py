"""Real workers with a real model, fed by Celery over a real server."""

from __future__ import annotations

import base64
import itertools
import json
import os
import pickle
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.celery_app import make_app
from jobs.celery_hints import CeleryHints
from jobs.completion import Completion
from jobs.hints import RUN_SHARD_TASK, queue_name
from jobs.job import Job, JobState, NewJob, ShardRef
from jobs.prompt import Prompt
from jobs.sampling import SamplingSettings
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from tests.support.byte_level_tokenizer import write_byte_level_tokenizer
from tests.support.tiny_checkpoint import write_tiny_checkpoint
from tests.support.valkey import ValkeyProcess
from tests.worker.worker_under_test import WorkerUnderTest

MODEL = "tiny"
SHARD_SIZE = 16
NUM_TEXTS = 7  # different prompts in a job: lines with the same one must have the same completion
TOKENS_STEP = 40  # completions have 1 to 7 times so many tokens: they do not all end at once
_numbers = itertools.count()


JOB = "a-job"
NO_HINTS: list[tuple[list[Any], dict[str, Any]]] = [
    ([], {}),
    ([JOB], {}),
    ([JOB, 0, 0], {}),
    ([JOB, -1], {}),
    ([JOB, 2**80], {}),
    ([JOB, True], {}),
    ([JOB, 0.5], {}),
    ([JOB, "0"], {}),
    ([7, 0], {}),
    ([None, None], {}),
    (["", 0], {}),
    (["x" * 300, 0], {}),
    (["a\x1b[31m", 0], {}),
    ([{"job": JOB}, [0]], {}),
    ([], {"job_id": JOB, "index": 0}),
    ([JOB], {"shard_index": 0}),
]
PICKLED = pickle.dumps({"task": RUN_SHARD_TASK})
JUNK = [
    b"",
    b"not JSON",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b'{"body": 1, "properties": 2}',
    b'{"body": "", "headers": {}, "properties": {}}',
    PICKLED,
]


def envelope(body: bytes, content_type: str, headers: dict[str, Any]) -> bytes:
    """A message as kombu puts it on a list."""
    properties = {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": queue_name(MODEL)},
        "delivery_tag": str(uuid.uuid4()),
    }
    message = {
        "body": base64.b64encode(body).decode(),
        "content-type": content_type,
        "content-encoding": "binary",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message).encode()


BROKEN = envelope(b"{broken", "application/json", {"task": RUN_SHARD_TASK, "id": "3"})  # Celery drops it, uncounted
FOREIGN = [
    envelope(PICKLED, "application/x-python-serialize", {"task": RUN_SHARD_TASK, "id": "1"}),
    envelope(b"[[], {}, {}]", "application/json", {"task": "os.system", "id": "2"}),
    envelope(b"[1]", "application/json", {"task": RUN_SHARD_TASK, "id": "4"}),
    envelope(b"[]", "application/json", {}),
]


def _num_tokens(index: int) -> int:
    return TOKENS_STEP * (1 + index % NUM_TEXTS)


def _line(index: int) -> Prompt:
    settings = SamplingSettings(max_tokens=_num_tokens(index))
    return Prompt(index, f"id-{index}", text=f"What is {index % NUM_TEXTS}?", settings=settings)


class Cluster:
    """A server, a model and what a client does."""

    def __init__(self, valkey: ValkeyProcess, model_folder: Path, logs: Path) -> None:
        self.valkey = valkey
        self.store: JobStore = connect(valkey.url)
        self.hints = CeleryHints(valkey.url)
        self._logs = logs
        self.settings = {
            "redis_url": valkey.url,
            "model": str(model_folder),
            "served_model_name": MODEL,
            "device": "cpu",
            "compile": "false",
            "threads": "1",
            "kv_cache_memory": "64MiB",
            "lease_ttl_seconds": "1.5",
            "sweep_seconds": "0.3",
            "flush_seconds": "0.1",
        }

    def worker(self, **options: str) -> WorkerUnderTest:
        log = self._logs / f"worker-{next(_numbers)}.log"
        return WorkerUnderTest(self.settings | options, log)

    def worker_of(self, command: Sequence[str]) -> WorkerUnderTest:
        return WorkerUnderTest(self.settings, self._logs / f"worker-{next(_numbers)}.log", command)

    @contextmanager
    def frozen_server(self) -> Iterator[None]:
        """A server that accepts and never answers."""
        os.kill(self.valkey.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.valkey.pid, signal.SIGCONT)

    def submit(self, num_lines: int) -> str:
        """A job that takes a second for about a hundred lines."""
        job_id = f"job-{next(_numbers)}"
        settings = SamplingSettings(temperature=0, ignore_eos=True)
        spec = NewJob(job_id, MODEL, "native", settings, 5, num_lines, SHARD_SIZE, "file", created_at=time.time())
        self.store.create(spec)
        lines = [_line(index) for index in range(num_lines)]
        for index in range(spec.num_shards):
            shard = ShardRef(job_id, index)
            self.store.add_shard(shard, lines[index * SHARD_SIZE : (index + 1) * SHARD_SIZE])
        self.hints.send(MODEL, self.store.open(job_id))
        return job_id

    def wait_until_done(self, job_id: str, count: int, timeout_seconds: float = 60) -> Job:
        """Return as soon as so many lines of the job have a result."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.store.job(job_id)).done < count:
            assert time.monotonic() < deadline, job
            time.sleep(0.01)  # the store has no way to tell
        return job

    def wait_until_ended(self, job_id: str, timeout_seconds: float = 60) -> Job:
        deadline = time.monotonic() + timeout_seconds
        while not (job := self.store.job(job_id)).state.ended:
            assert time.monotonic() < deadline, job
            time.sleep(0.01)
        return job

    def check_results(self, job_id: str, num_lines: int) -> list[Completion]:
        """Every line exactly once, in order; equal prompts have equal completions; counters equal lines."""
        job, results = self.store.job(job_id), list(self.store.results(job_id))
        assert job.state is JobState.COMPLETED
        assert [result.index for result in results] == list(range(num_lines))
        assert (job.completed, job.failed) == (num_lines, 0)
        assert job.total_output_tokens == sum(_num_tokens(index) for index in range(num_lines))
        for text in range(NUM_TEXTS):
            assert len({result.text for result in results[text::NUM_TEXTS]}) == 1
        return results


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / MODEL
    write_byte_level_tokenizer(folder)
    return write_tiny_checkpoint(folder, vocab_size=257)


@pytest.fixture
def cluster(empty_valkey: ValkeyProcess, model_folder: Path, tmp_path: Path) -> Cluster:
    return Cluster(empty_valkey, model_folder, tmp_path)


@pytest.fixture
def ready_worker(cluster: Cluster) -> Iterator[WorkerUnderTest]:
    with cluster.worker() as worker:
        worker.wait_until(cluster.store, "idle")
        yield worker


def test_a_job_runs_from_the_queue_to_its_results(cluster: Cluster, ready_worker: WorkerUnderTest) -> None:
    job_id = cluster.submit(100)
    cluster.wait_until_ended(job_id)
    results = cluster.check_results(job_id, 100)
    assert all(result.usage is not None and result.latency is not None for result in results)
    stats = cluster.store.stats(job_id)
    (share,) = stats.workers
    assert (share.device, share.dtype, share.compiled) == ("cpu", "float32", False)
    assert share.output_tokens == stats.total_output_tokens
    assert stats.decode_seconds > 0 and stats.mean_batch_size is not None and stats.mean_batch_size > 1
    assert share.peak_memory_bytes > 50 * 2**20


def test_a_worker_announces_itself_and_its_model(cluster: Cluster, ready_worker: WorkerUnderTest) -> None:
    report = ready_worker.wait_until(cluster.store, "idle")
    assert (report.model, report.device, report.dtype, report.jobs) == (MODEL, "cpu", "float32", ())
    card = cluster.store.model(MODEL)
    assert card is not None
    assert (card.vocab_size, card.max_model_len, card.has_chat_template) == (257, 512, False)
    assert "ready: model=tiny queue=qwen-batch.tiny device=cpu" in ready_worker.log


def test_messages_that_are_no_hints_are_refused_and_good_work_goes_on(
    cluster: Cluster, ready_worker: WorkerUnderTest
) -> None:
    queue = queue_name(MODEL)
    app = make_app(cluster.valkey.url)
    for args, kwargs in NO_HINTS:
        app.send_task(RUN_SHARD_TASK, args, kwargs, queue=queue)
    with cluster.valkey.client() as client:
        for message in [BROKEN, *JUNK, *FOREIGN]:
            client.lpush(queue, message)
    job_id = cluster.submit(20)
    cluster.wait_until_ended(job_id)
    cluster.check_results(job_id, 20)
    refused = len(NO_HINTS) + len(JUNK) + len(FOREIGN)
    ready_worker.wait_for_log(f"refused a message on the queue ({refused} so far)")
    with cluster.valkey.client() as client:
        assert client.hlen("unacked") == 0, "refused messages still take places"


def test_sigterm_hands_over_within_two_seconds_and_no_finished_line_is_redone(cluster: Cluster) -> None:
    with cluster.worker() as first:
        first.wait_until(cluster.store, "idle")
        job_id = cluster.submit(140)
        cluster.wait_until_done(job_id, 10)
        began = time.monotonic()
        first.send(signal.SIGTERM)
        assert first.exit_code(timeout_seconds=10) == 0, first.log
        assert time.monotonic() - began < 2.0
    assert cluster.store.workers() == []
    before = list(cluster.store.results(job_id))
    assert 10 <= cluster.store.job(job_id).done == len(before) < 140
    assert "Traceback" not in first.log
    with cluster.worker() as second:
        report = second.wait_until(cluster.store, "idle", "busy")
        cluster.wait_until_ended(job_id)
    after = cluster.check_results(job_id, 140)
    assert [after[result.index] for result in before] == before
    computed = sum(_num_tokens(index) for index in range(140)) - sum(_num_tokens(line.index) for line in before)
    shares = {share.worker_id: share.output_tokens for share in cluster.store.stats(job_id).workers}
    assert shares[report.worker_id] == computed


def test_a_second_signal_ends_the_worker_at_once(cluster: Cluster) -> None:
    with cluster.worker() as worker:
        worker.wait_until(cluster.store, "idle")
        cluster.submit(500)
        worker.wait_until(cluster.store, "busy")
        with cluster.frozen_server():  # so that the hand-over cannot end
            worker.send(signal.SIGTERM)
            worker.wait_for_log("stopping")
            worker.send(signal.SIGTERM)
            assert worker.exit_code(timeout_seconds=1) == 128 + signal.SIGTERM


def test_a_killed_workers_shards_are_finished_by_another_and_each_line_is_there_once(cluster: Cluster) -> None:
    with cluster.worker() as victim, cluster.worker() as survivor:
        victim.wait_until(cluster.store, "idle")
        survivor.wait_until(cluster.store, "idle")
        job_id = cluster.submit(300)
        victim.wait_until(cluster.store, "busy")
        survivor.wait_until(cluster.store, "busy")
        cluster.wait_until_done(job_id, 50)
        victim.kill()
        done = cluster.store.job(job_id).done
        assert done < 300
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 300)
        assert cluster.store.stats(job_id).retried_shards > 0


def test_a_model_that_cannot_be_used_is_one_clear_message_and_exit_code_2(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    write_byte_level_tokenizer(folder)
    write_tiny_checkpoint(folder, vocab_size=257)
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with cluster.worker(model=str(folder)) as worker:
        assert worker.exit_code() == 2
        assert "Error: " in worker.log and "model.safetensors" in worker.log
        assert "Traceback" not in worker.log
    assert cluster.store.workers() == []


def test_a_server_that_is_not_there_is_one_clear_message_and_exit_code_4(cluster: Cluster) -> None:
    with cluster.worker(redis_url="redis://:secret@127.0.0.1:1/0") as worker:
        assert worker.exit_code() == 4
        assert "Error: Redis at 127.0.0.1:1 refused the connection." in worker.log
        assert "Traceback" not in worker.log and "secret" not in worker.log


def test_celerys_own_command_starts_the_same_worker(cluster: Cluster) -> None:
    command = ("-m", "celery", "-A", "worker.app", "worker", "--pool", "threads", "--loglevel", "INFO")
    with cluster.worker_of(command) as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(30)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 30)
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.exit_code(timeout_seconds=10) == 0, worker.log
        assert time.monotonic() - began < 2.0
        assert cluster.valkey.password not in worker.log
