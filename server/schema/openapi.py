"""Make the OpenAPI document from the table of routes and the shapes of bodies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from server.schema import bodies
from server.schema.operations import OPERATIONS, PAGE, Body, Json, Operation

Routes = Mapping[str, Mapping[str, Callable[..., Any]]]  # path -> method -> handler

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_HEAD_OF_SUMMARY = re.compile(r"^[A-Z]+(?: and [A-Z]+)?(?: /\S*)?: ")  # such as `GET /v1/files: `


def openapi_document(routes: Routes) -> Json:
    """Return the document, which has exactly the paths of the routes."""
    paths = {_PARAMETER.sub(r"{\1}", path): _path_item(path, methods) for path, methods in routes.items()}
    described = [*OPERATIONS.values(), PAGE]
    shapes = [body.shape for each in described for body in (each.answer, each.body) if body is not None and body.shape]
    _, components = msgspec.json.schema_components(
        [*dict.fromkeys(shapes), bodies.ErrorAnswer], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qwen-batch",
            "version": version("qwen-batch"),
            "description": "Batches and interactive requests for Qwen3, in the form of OpenAI's API.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _path_item(path: str, methods: Mapping[str, Callable[..., Any]]) -> Json:
    return {method.lower(): _operation(path, method, handler) for method, handler in methods.items()}


def _operation(path: str, method: str, handler: Callable[..., Any]) -> Json:
    plain = _PARAMETER.sub(r"{\1}", path)
    operation: Operation = OPERATIONS.get((method, plain), PAGE)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    for name, schema in (operation.query or {}).items():
        parameters.append({"name": name, "in": "query", "schema": schema})
    described: Json = {
        "operationId": _operation_id(method, plain),
        "summary": _summary(handler),
        "responses": {
            "200": {"description": HTTPStatus.OK.phrase, "content": _content(operation.answer)},
            "default": {"description": "An error.", "content": _content(Body(bodies.ErrorAnswer))},
        },
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _operation_id(method: str, path: str) -> str:
    words = re.findall(r"\w+", path)
    return "_".join([method.lower(), *words]) if words else f"{method.lower()}_root"


def _summary(handler: Callable[..., Any]) -> str:
    """Return the first sentence of a handler's docstring, without method and path."""
    first = (inspect.getdoc(handler) or "").partition("\n")[0]
    said = _HEAD_OF_SUMMARY.sub("", first)
    return said[:1].upper() + said[1:]


def _content(body: Body) -> Json:
    schema: Json = {}
    if body.shape is not None:
        schema = {"$ref": f"#/components/schemas/{body.shape.__name__}"}
    elif body.media_type == "application/json":
        schema = {"type": "object"}
    described: Json = {"schema": schema} if schema else {}
    if body.example is not None:
        described["example"] = msgspec.to_builtins(body.example)
    return {body.media_type: described}
