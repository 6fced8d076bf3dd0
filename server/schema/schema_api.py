"""The endpoints of the schema: as a document for programs, and as a page for people."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cached_property
from html import escape

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.api.listing import json_reply
from server.schema.openapi import Routes, openapi_document
from server.schema.operations import Json

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { font-size: 1rem; margin: 2rem 0 .25rem } code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .375rem }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {"content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"}


class SchemaApi:
    """Handles /openapi.json and /docs.

    Args:
        routes: The table of routes. It may grow until the first request.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def document(self, _request: Request) -> Response:
        """GET: return the OpenAPI document of this service."""
        return json_reply(self._document)

    async def page(self, _request: Request) -> Response:
        """GET: show all endpoints to people. The page has no script."""
        return Response("".join(_page(self._document)), 200, _HEADERS, media_type="text/html")

    @cached_property
    def _document(self) -> Json:
        return openapi_document(self._routes)


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}: API</title>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<style>{_STYLE}</style>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield "<p>The base URL of OpenAI's clients is this address with <code>/v1</code>. "
    yield "The same as a document: <a href='/openapi.json'>/openapi.json</a>.</p>"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
            yield from _parameters(operation)
            yield from _example("Body", operation.get("requestBody", {}).get("content", {}))
            yield from _example("Answer", operation["responses"]["200"]["content"])


def _parameters(operation: Json) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        yield f"<p><code>{escape(parameter['name'])}</code> ({parameter['in']})</p>"


def _example(what: str, content: Json) -> Iterator[str]:
    for described in content.values():
        if "example" in described:
            text = msgspec.json.format(msgspec.json.encode(described["example"]), indent=2).decode()
            yield f"<p>{what}:</p><pre>{escape(text)}</pre>"
