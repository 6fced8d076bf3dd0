"""A private server with a worker, from Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import qwen_batch


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder. No setting of this process's environment counts."""
    for name in list(os.environ):
        if name.startswith("QWEN_BATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QWEN_BATCH_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.slow
def test_a_local_server_answers_rows_and_leaves_nothing_behind(state: Path) -> None:
    with qwen_batch.local("demo", compile=False, threads=1) as client:
        job = client.submit([{"q": "What is 2 + 3?"}, {"q": "What is 4 + 5?"}], template="{{ q }}", temperature=0)
        assert [result.completion for result in job.results()] == ["5", "9"]
    with pytest.raises(qwen_batch.StoreUnavailable):
        job.status()
    assert list((state / "runs").iterdir()) == []


def test_a_named_folder_keeps_the_jobs(tmp_path: Path) -> None:
    server = qwen_batch.local("demo", folder=tmp_path / "kept", compile=False, threads=1)
    client = server.start()
    with pytest.raises(qwen_batch.InvalidInput, match="already"):
        qwen_batch.local("demo", folder=tmp_path / "kept").start()
    job = client.submit([{"prompt": "a"}], deadline_seconds=1000)
    server.stop()
    server.stop()
    with server as again:
        assert again.job(job.id).status().total == 1


def test_a_name_that_is_no_model_is_refused_before_anything_starts(state: Path) -> None:
    with pytest.raises(qwen_batch.ModelUnusable, match=r"Did you mean Qwen/Qwen3-4B\?"):
        qwen_batch.local("Qwen3-4B").start()
    assert not state.exists()


def test_a_worker_that_cannot_work_ends_the_waiting(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    with qwen_batch.local(str(model), served_model_name="broken") as client:
        job = client.submit([{"prompt": "a"}], model="other")
        with pytest.raises(qwen_batch.QwenBatchError, match=r"lacks tokenizer\.json"):
            list(job.results())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"treads": 1}, "local() has no argument 'treads'. Did you mean 'threads'?"),
        ({"worker": 2}, "local() has no argument 'worker'. Did you mean 'workers'?"),
        ({"x": 1}, "local() has no argument 'x'. Its arguments are model, workers, folder, served_model_name, device"),
        ({"threads": "one"}, "`threads` is 'one'; it must be a whole number"),
        ({"workers": 0}, "`workers` is 0; it must be at least 1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, qwen_batch.InvalidInput)) as refusal:
        qwen_batch.local("demo", **arguments)
    assert said in str(refusal.value)
