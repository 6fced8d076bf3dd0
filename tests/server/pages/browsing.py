"""A browser without scripts: it keeps cookies, follows redirects and sends forms as they stand on the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from starlette.testclient import TestClient
from starlette.types import ASGIApp

HOST = "http://localhost"
_EMPTY = {"input", "meta", "link", "br", "img"}


@dataclass
class Form:
    """A form of a page."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.tags.append((tag, said))
        if tag == "a":
            self.links.append(said.get("href", ""))
        if tag == "form":
            self.forms.append(Form(said.get("method", "get"), said.get("action", "")))
        if tag in ("input", "button") and said.get("name") and said.get("type") != "file" and self.forms:
            self.forms[-1].fields.setdefault(said["name"], said.get("value", ""))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class SeenPage:
    """A page as a browser without scripts sees it."""

    def __init__(self, answer: Any) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.source = answer.text
        self.path = answer.url.raw_path.decode()
        reader = _Reader()
        reader.feed(answer.text)
        self.forms, self.links, self.tags = reader.forms, reader.links, reader.tags
        self.text = " ".join(" ".join(reader.text).split())

    def form(self, action: str) -> Form:
        """The one form with this address."""
        (found,) = (form for form in self.forms if form.action == action)
        return found

    def has_form(self, action: str) -> bool:
        return any(form.action == action for form in self.forms)


class Browser:
    """One visitor with a cookie jar."""

    # The client of an application in this process has the methods of httpx's client, but another type.
    def __init__(self, app: ASGIApp | None = None, address: str = HOST) -> None:
        if app is None:
            self.http: Any = httpx.Client(base_url=address, timeout=60, follow_redirects=True)
        else:
            self.http = TestClient(app, base_url=address, follow_redirects=True)
        self._address = address

    def open(self, path: str, **headers: str) -> SeenPage:
        return SeenPage(self.http.get(path, headers={"sec-fetch-site": "none"} | headers))

    def send(self, form: Form, files: Any = None, **fields: str) -> SeenPage:
        """Fill in a form and send it. `files` as httpx takes them."""
        headers = {"sec-fetch-site": "same-origin", "origin": self._address}
        return SeenPage(self.http.post(form.action, data=form.fields | fields, files=files, headers=headers))
