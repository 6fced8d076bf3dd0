"""The OpenAPI document and the page of endpoints."""

from __future__ import annotations

import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from server.app import routes
from server.schema.operations import OPERATIONS
from server.state import Services
from tests.server.requests.test_fuzzed_requests import services

__all__ = ["services"]  # a fixture


def document_of(http: httpx.Client) -> Any:
    answer = http.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_the_document_is_valid(http: httpx.Client) -> None:
    validate(document_of(http))


def test_the_document_has_exactly_the_paths_and_methods_of_the_router(http: httpx.Client, services: Services) -> None:
    described = {(method.upper(), path) for path, item in document_of(http)["paths"].items() for method in item}
    handled = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", path))
        for path, methods in routes(services).items()
        for method in methods
    }
    assert described == handled


def test_each_operation_of_the_api_is_described(http: httpx.Client) -> None:
    paths = document_of(http)["paths"]
    handled = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert {each for each in handled if each[1].startswith("/v1")} <= set(OPERATIONS)
    for item in paths.values():
        for operation in item.values():
            assert operation["summary"].endswith("."), operation


def test_examples_are_valid_by_their_schemas(http: httpx.Client) -> None:
    document = document_of(http)
    checked = 0
    for item in document["paths"].values():
        for operation in item.values():
            contents = [operation["responses"]["200"]["content"], operation.get("requestBody", {}).get("content", {})]
            for described in (body for content in contents for body in content.values() if "example" in body):
                schema = {**described["schema"], "components": document["components"]}
                Draft202012Validator(schema).validate(described["example"])
                checked += 1
    assert checked >= 10


def test_real_answers_are_valid_by_the_schema(http: httpx.Client) -> None:
    document = document_of(http)
    for path in ("/v1/files", "/v1/batches", "/v1/models", "/health"):
        described = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**described, "components": document["components"]}).validate(http.get(path).json())


def test_the_page_shows_every_path_and_loads_nothing(http: httpx.Client) -> None:
    answer = http.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert re.findall(r"<script|src=|https?://", answer.text) == []
    for path in document_of(http)["paths"]:
        assert path in answer.text
