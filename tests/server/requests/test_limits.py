"""Limits of API keys, and which web pages may use the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import RateLimitError
from starlette.types import Receive, Scope, Send

from jobs.errors import InvalidInput, StoreFull
from jobs.service.rate_limits import MemoryRateLimits
from server.access.caller import Caller, set_caller
from server.access.key_file import add_key, read_key_file, remove_key
from server.in_threads import InThreads
from server.limits.limit_middleware import LimitMiddleware
from server.limits.rate_gate import RateGate
from server.limits.rate_headers import duration, rate_headers
from server.limits.token_count import count_tokens
from server.middleware.api_error import ApiError
from server.options import Limits
from testing.processes.valkey import ValkeyProcess
from tests.server.conftest import ServeProcess, jsonl
from tests.server.files.test_files import FILE, PURPOSE, form

TIGHT = {"requests_per_minute": 3, "uploads_per_hour": 1, "batches_per_hour": 1}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


def set_limits(path: Path, **limits: dict[str, int]) -> None:
    """Write the limits of projects into a file of keys, as a person does."""
    content = json.loads(path.read_text()) if path.exists() else {"keys": []}
    path.write_text(json.dumps(content | {"limits": limits}))


@pytest.fixture(scope="module")
def limited(
    valkey: ValkeyProcess, service: ServeProcess, keys_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    """A service with two HTTP processes, with keys and an allowed origin."""
    set_limits(keys_file, tight=TIGHT)
    words = ("--keys-file", str(keys_file), "--allow-origin", "https://app.example", "--processes", "2")
    with ServeProcess(valkey, tmp_path_factory.mktemp("limited"), *words, files=service.files) as limited:
        yield limited


@pytest.fixture
def tight(limited: ServeProcess, keys_file: Path) -> Iterator[httpx.Client]:
    """A client with a new key of the project with limits. Its requests use a new connection each."""
    headers = {"authorization": f"Bearer {add_key(keys_file, 'tight', ('batch', 'online'), None)[0]}"}
    with httpx.Client(base_url=limited.address, timeout=60, headers=headers | {"connection": "close"}) as client:
        yield client


def check_refused(answer: httpx.Response, words: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert words in error["message"]
    seconds, ms = int(answer.headers["retry-after"]), int(answer.headers["retry-after-ms"])
    assert 1 <= seconds <= 60
    assert 0 <= seconds * 1000 - ms < 1000


def test_a_key_that_asks_too_often_is_refused_by_every_process(tight: httpx.Client) -> None:
    answers = [tight.get("/v1/files")]
    while answers[-1].status_code == 200:  # on a slow machine, a permit may come back meanwhile
        assert len(answers) < 100
        answers.append(tight.get("/v1/files"))
    assert len(answers) >= 4
    check_refused(answers[-1], "3 requests per minute")
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"
    assert answers[-1].headers["x-ratelimit-remaining-requests"] == "0"
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    assert tight.get("/health").status_code == 200


def test_errors_count_and_tell_what_is_left(tight: httpx.Client) -> None:
    answer = tight.get("/v1/files/file-unknown")
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (404, "2")


def test_uploads_and_batches_have_rates_of_their_own(tight: httpx.Client) -> None:
    assert tight.post("/v1/files", **form(PURPOSE, FILE)).status_code == 200
    check_refused(tight.post("/v1/files", **form(PURPOSE, FILE)), "1 uploads per hour")
    assert tight.post("/v1/batches", json={}).status_code == 400


def test_openais_client_sees_the_usual_error(limited: ServeProcess, keys_file: Path) -> None:
    key, _ = add_key(keys_file, "tight", ("batch",), None)
    with limited.client(key) as client:
        client.files.create(file=("a.jsonl", jsonl({})), purpose="batch")
        with pytest.raises(RateLimitError, match="uploads per hour"):
            client.files.create(file=("a.jsonl", jsonl({})), purpose="batch")


def test_a_project_without_limits_of_its_own_has_those_of_the_service(limited: ServeProcess, keys_file: Path) -> None:
    key, _ = add_key(keys_file, "roomy", ("batch",), None)
    answer = httpx.get(f"{limited.address}/v1/files", headers={"authorization": f"Bearer {key}"})
    assert answer.headers["x-ratelimit-limit-requests"] == "10000"


def test_a_service_without_keys_has_no_limits(http: httpx.Client) -> None:
    assert not [name for name in http.get("/v1/files").headers if name.startswith("x-ratelimit")]


def test_keys_that_are_added_and_removed_leave_the_limits_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    set_limits(path, p=TIGHT)
    before = read_key_file(path).limits
    _, entry = add_key(path, "p", ("batch",), None)
    remove_key(path, entry.id)
    assert read_key_file(path).limits == before
    assert before["p"].over(Limits()).uploads_per_hour == 1


@pytest.mark.parametrize("limits", [{"requests_per_hour": 1}, {"requests_per_minute": 0}, {"file_bytes": "1MB"}])
def test_a_limit_that_does_not_exist_or_is_no_number_is_refused(tmp_path: Path, limits: dict[str, Any]) -> None:
    set_limits(tmp_path / "keys.json", p=limits)
    with pytest.raises(InvalidInput, match=r"is no file of API keys: .*limits"):
        read_key_file(tmp_path / "keys.json")


class LimitedApp:
    """`LimitMiddleware` over buckets in memory, before an application that waits until `go_on` is set."""

    def __init__(self, limits: Limits, tokens: int = 0) -> None:
        self.go_on, self.began, self.tokens = asyncio.Event(), 0, tokens
        self.buckets = MemoryRateLimits(lambda: 0.0)  # time stands still, so no permit comes back
        self.threads = InThreads(4, 60)
        self.middleware = LimitMiddleware(self._app, RateGate(self.buckets, self.threads), lambda _: limits)

    async def _app(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.began += 1
        count_tokens(scope, self.tokens)
        await self.go_on.wait()

    async def ask(self, path: str = "/v1/models", method: str = "GET", key: str = "k") -> Scope:
        scope: Scope = {"type": "http", "method": method, "path": path}
        set_caller(scope, Caller("p", key, frozenset()))

        async def unused(*_: Any) -> Any:
            raise AssertionError

        await self.middleware(scope, unused, unused)
        return scope


def test_many_requests_at_once_get_exactly_the_permits_that_there_are() -> None:
    async def run() -> None:
        limited_app = LimitedApp(Limits(requests_per_minute=20))
        limited_app.go_on.set()
        outcomes = await asyncio.gather(*(limited_app.ask() for _ in range(50)), return_exceptions=True)
        refused = [error for error in outcomes if isinstance(error, ApiError)]
        assert (len(refused), limited_app.began) == (30, 20)
        left = [int(rate_headers(scope)["x-ratelimit-remaining-requests"]) for scope in outcomes[:20]]  # type: ignore[arg-type]
        assert left == list(range(19, -1, -1))
        await limited_app.ask(key="other")
        limited_app.threads.close()

    asyncio.run(run())


def test_requests_at_once_are_limited_per_key_until_one_has_ended() -> None:
    async def run() -> None:
        limited_app = LimitedApp(Limits(requests_at_once=2))
        running = [asyncio.ensure_future(limited_app.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="2 requests at once"):
            await limited_app.ask()
        limited_app.go_on.set()
        await limited_app.ask(key="other")
        await asyncio.gather(*running)
        await limited_app.ask()
        assert limited_app.began == 4
        limited_app.threads.close()

    asyncio.run(run())


def test_a_key_that_has_used_up_its_tokens_waits_until_they_are_repaid() -> None:
    async def run() -> None:
        limited_app = LimitedApp(Limits(tokens_per_minute=100), tokens=250)
        limited_app.go_on.set()
        scope = await limited_app.ask("/v1/completions", "POST")
        assert rate_headers(scope)["x-ratelimit-remaining-tokens"] == "100"
        await asyncio.gather(*limited_app.middleware._charges)
        with pytest.raises(ApiError, match="100 tokens per minute") as raised:
            await limited_app.ask("/v1/completions", "POST")
        assert (raised.value.kind, raised.value.headers["retry-after"]) == ("tokens", "60")
        await limited_app.ask("/v1/batches", "POST")
        limited_app.threads.close()

    asyncio.run(run())


def test_a_store_that_refuses_writes_lets_requests_pass() -> None:
    class Full:
        def take(self, takes: Any) -> Any:
            raise StoreFull("full")

    async def run() -> None:
        limited_app = LimitedApp(Limits(requests_per_minute=1))
        gate = RateGate(Full(), limited_app.threads)
        limited_app.middleware = LimitMiddleware(limited_app._app, gate, lambda _: Limits(requests_per_minute=1))
        limited_app.go_on.set()
        await limited_app.ask()
        limited_app.threads.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.0171, "17ms"), (1.5, "1.5s"), (59.9, "59.9s"), (360.0, "6m0s"), (90.25, "1m30.25s")],
)
def test_times_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


ORIGIN = {"origin": "https://app.example"}


def test_a_page_of_an_allowed_origin_may_use_the_api(limited: ServeProcess) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    url = f"{limited.address}/v1/files"
    answer = httpx.options(url, headers=ORIGIN | asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, ORIGIN["origin"])
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["access-control-allow-methods"] == "POST"
    refused = httpx.get(url, headers=ORIGIN)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN["origin"])
    assert "x-request-id" in refused.headers["access-control-expose-headers"]
    assert refused.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
def test_a_page_of_another_origin_is_refused(http: httpx.Client, origin: str) -> None:
    for answer in (
        http.post("/v1/files", headers={"origin": origin, "content-type": "text/plain"}, content=b"x"),
        http.options("/v1/files", headers={"origin": origin, "access-control-request-method": "POST"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers


def test_the_services_own_pages_and_clients_that_are_no_browser_pass(http: httpx.Client) -> None:
    for headers in ({"origin": str(http.base_url).rstrip("/")}, {}):
        assert http.get("/v1/files", headers=headers).status_code == 200
