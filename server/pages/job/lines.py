"""The pages of a job's lines: a list with a search, and one line as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.files.results.called_tools import call_objects
from jobs.files.results.result_line import result_line
from jobs.records.completion import Choice
from jobs.records.job import Job
from server.middleware.api_error import ApiError
from server.pages.job.book import JobBook
from server.pages.job.entry import Entry
from server.pages.job.search import LINES_PER_PAGE, Line, LinePage, LineWish, find_line, find_lines, turns_of
from server.pages.rendering import Renderer
from server.pages.visitor import Visitor
from server.state import Services

_MAX_SEARCH = 500  # characters
_SHOWN_CHARS = 2_000  # longer texts are cut in the list; the page of a line has the whole text
_ALL_CHARS = 1_000_000


@dataclass(frozen=True)
class _Text:
    """A text with its speaker."""

    role: str
    text: str
    is_cut: bool


@dataclass(frozen=True)
class _ShownLine:
    """A line, ready for the template."""

    number: int  # from 1
    line: Line
    turns: list[_Text]
    answers: list[_Text]


class LinesPages:
    """Handles /jobs/ID/lines and /jobs/ID/lines/NUMBER."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: list lines, all or the failed ones, and search their texts."""
        entry = await self._entry(request, visitor)
        wish = _wish(request)
        page = LinePage([], 0, is_end=True)
        if entry.job is not None:
            page = await self._services.disk_threads.run(find_lines, self._services.stores.jobs.jobs, entry.job, wish)
        values = {
            "entry": entry,
            "wish": wish,
            "lines": [_shown(line, _SHOWN_CHARS) for line in page.lines],
            "page": page,
            "later": "" if page.is_end else _query(wish, page.reached),
            "earlier": "" if wish.first == 0 or wish.search or wish.only_failed else _earlier(wish),
        }
        return self._render.page(request, visitor, "lines", values)

    async def one(self, request: Request, visitor: Visitor) -> Response:
        """GET: show one line as a whole, with its result as JSON."""
        entry, number = await self._entry(request, visitor), int(request.path_params["number"])
        line = None
        if entry.job is not None and 0 < number <= entry.job.spec.num_lines:
            reader = self._services.stores.jobs.jobs
            line = await self._services.disk_threads.run(find_line, reader, entry.job, number - 1)
        if entry.job is None or line is None:
            raise ApiError(404, f"The store has no line {number:,} of this job.")
        values = {"entry": entry, "shown": _shown(line, _ALL_CHARS), "json": _json_of(line, entry.job)}
        return self._render.page(request, visitor, "line", values)

    async def _entry(self, request: Request, visitor: Visitor) -> Entry:
        book, job_id = JobBook(self._services.stores, visitor), str(request.path_params["id"])
        return await self._services.store_threads.run(book.get, job_id)


def _wish(request: Request) -> LineWish:
    query = request.query_params
    said = query.get("from", "1")
    if not (said.isascii() and said.isdigit() and len(said) < 12):
        raise ApiError(400, f"The address says from={said[:50]!r}; it must be the number of a line.")
    only_failed = query.get("show") == "failed"
    return LineWish(max(int(said) - 1, 0), only_failed, query.get("q", "").strip()[:_MAX_SEARCH])


def _query(wish: LineWish, first: int) -> str:
    said = {"show": "failed" if wish.only_failed else "", "q": wish.search, "from": first + 1}
    return urlencode({name: value for name, value in said.items() if value})


def _earlier(wish: LineWish) -> str:
    return _query(wish, max(wish.first - LINES_PER_PAGE, 0))


def _shown(line: Line, max_chars: int) -> _ShownLine:
    turns = [_text(role, text, max_chars) for role, text in turns_of(line.prompt)]
    answers: list[_Text] = []
    choices = line.completion.choices if line.completion is not None else ()
    for place, choice in enumerate(choices, 1):
        role = "assistant" if len(choices) == 1 else f"assistant, {place} of {len(choices)}"
        answers += [_text(*each, max_chars) for each in _answers(role, choice)]
    return _ShownLine(line.prompt.index + 1, line, turns, answers)


def _answers(role: str, choice: Choice) -> list[tuple[str, str]]:
    texts = [(f"{role}, thinking", choice.reasoning)] if choice.reasoning else []
    calls = msgspec.json.encode(call_objects(choice.tool_calls)).decode() if choice.tool_calls else ""
    return [*texts, (role, "\n".join(filter(None, (choice.text, calls))))]


def _text(role: str, text: str, max_chars: int) -> _Text:
    return _Text(role, text[:max_chars], len(text) > max_chars)


def _json_of(line: Line, job: Job) -> str:
    """Return the line's result as it stands in the file of results, but with line breaks."""
    if line.completion is None:
        return ""
    return msgspec.json.format(result_line(line.completion, job), indent=2).decode()
