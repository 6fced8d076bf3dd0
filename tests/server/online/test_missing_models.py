"""What a client is told about a model that no worker serves: whether to wait, or to name another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from starlette.testclient import TestClient

from jobs.records.model_card import ModelCard
from server.app import make_app
from server.state import Services
from testing.jobs.sample_jobs import worker_report
from tests.server.in_process import services_in_memory
from tests.server.online.conftest import MESSAGES


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """A service in memory. Some worker has served the model `Own/known`; none serves it now."""
    services = services_in_memory(tmp_path)
    services.stores.jobs.fleet.publish_model(ModelCard("Own/known", 1000, 2048, has_chat_template=True))
    return services


def report(services: Services, model: str, state: Any, seconds: float = 600.0) -> None:
    """Let a worker report itself, for so many seconds."""
    services.stores.jobs.fleet.report_worker(structs.replace(worker_report(), model=model, state=state), seconds)


def answer_to(services: Services, model: str, path: str = "/v1/chat/completions") -> tuple[int, dict[str, Any]]:
    """Return the status and the error of a request for a model."""
    client = TestClient(make_app(services), base_url="http://localhost")
    if path.startswith("/v1/models"):
        answer = client.get(f"{path}/{model}")
    else:
        answer = client.post(path, json={"model": model, "messages": MESSAGES})
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "5"
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
@pytest.mark.parametrize("said", ["Qwen/new", "new"])
@pytest.mark.parametrize("state", ["loading", "idle"])  # it is idle a moment after its model is published
def test_a_model_that_its_first_worker_loads_is_there_soon(
    services: Services, path: str, said: str, state: str
) -> None:
    report(services, "Qwen/new", state)
    status, error = answer_to(services, said, path)
    assert (status, error["code"], error["param"]) == (503, "no_worker", None)
    assert error["message"] == f"A worker is still loading the model '{said}'. Try again in a moment."


def test_a_worker_that_stopped_reporting_while_it_loaded_is_named(services: Services) -> None:
    report(services, "new", "loading", seconds=0.0)
    status, error = answer_to(services, "new")
    assert (status, error["code"]) == (503, "no_worker")
    assert error["message"] == "The worker that was loading the model 'new' does not report any more."


def test_the_worker_that_starts_with_the_service_is_known_before_it_reports(services: Services) -> None:
    starting = replace(services, options=structs.replace(services.options, own_model="Qwen/new"))
    status, error = answer_to(starting, "new")
    assert (status, error["code"]) == (503, "no_worker")
    assert error["message"] == "The worker of the model 'new' is still starting."
    assert answer_to(starting, "other")[0] == 404


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_a_model_that_nobody_has_served_is_refused_with_the_names_of_those_that_are(
    services: Services, path: str
) -> None:
    report(services, "Own/known", "idle")
    status, error = answer_to(services, "gpt-6", path)
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["message"] == "The model 'gpt-6' does not exist: no worker has served it. Served models: 'Own/known'."


def test_only_some_of_many_models_are_named(services: Services) -> None:
    for number in range(12):
        services.stores.jobs.fleet.publish_model(ModelCard(f"m{number:02}", 1000, 2048, has_chat_template=True))
    assert answer_to(services, "gpt-6")[1]["message"].endswith(", 'm08' and 3 more.")


def test_a_service_without_any_model_says_so(tmp_path: Path) -> None:
    assert answer_to(services_in_memory(tmp_path), "m")[1]["message"].endswith("No worker has served any model yet.")


def test_a_known_model_without_a_ready_worker_is_there_later(services: Services) -> None:
    status, error = answer_to(services, "known")
    assert (status, error["code"]) == (503, "no_worker")
    assert error["message"] == "No worker serves the model 'Own/known'. Try again in a moment."
    report(services, "Own/known", "loading")
    status, error = answer_to(services, "known")
    assert (status, error["code"]) == (503, "no_worker")
    assert error["message"] == "A worker is still loading the model 'Own/known'. Try again in a moment."
