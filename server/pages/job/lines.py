"""The pages of a job's lines: a list with a search, and one line as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.files.results.parts.called_tools import call_objects
from jobs.files.results.result_line import result_line
from jobs.records.completion import Choice
from jobs.records.job import Job
from server.middleware.api_error import ApiError
from server.pages.job.book import JobBook
from server.pages.job.entry import Entry
from server.pages.job.search import LINES_PER_PAGE, Line, LinePage, LineWish, find_line, find_lines, turns_of
from server.pages.rendering import Renderer, wants_part
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


@dataclass(frozen=True)
class _Search:
    """A search that several requests continue, because each of them reads for a limited time only."""

    wish: LineWish  # lines that this request asks for
    began: int  # index of the line at which the page begins
    shown: int  # number of lines that the page shows already

    def next_part(self, page: LinePage) -> str:
        """Return the query of the request that continues on the same page. Empty if the page is complete."""
        shown = self.shown + len(page.lines)
        if page.is_end or shown >= LINES_PER_PAGE:
            return ""
        return f"{_query(self.wish, page.reached)}&{urlencode({'began': self.began + 1, 'shown': shown})}"


class LinesPages:
    """Handles /jobs/ID/lines and /jobs/ID/lines/NUMBER."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: list lines, all or the failed ones, and search their texts. A script asks for the rest of a page."""
        entry = await self._entry(request, visitor)
        search = _search(request)
        wish = search.wish
        page = LinePage([], 0, is_end=True)
        if entry.job is not None:
            reader, seconds = self._services.stores.jobs.jobs, self._services.options.search_seconds
            page = await self._services.disk_threads.run(find_lines, reader, entry.job, wish, seconds)
        values = {
            "entry": entry,
            "wish": wish,
            "lines": [_shown(line, _SHOWN_CHARS) for line in page.lines],
            "page": page,
            "search": search,
            "next_part": search.next_part(page),
            "later": "" if page.is_end else _query(wish, page.reached),
            "earlier": _earlier(search),
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


def _search(request: Request) -> _Search:
    query = request.query_params
    first = max(_number(request, "from", 1) - 1, 0)
    began = max(_number(request, "began", first + 1) - 1, 0)
    shown = min(_number(request, "shown", 0), LINES_PER_PAGE - 1) if wants_part(request) else 0
    only_failed, text = query.get("show") == "failed", query.get("q", "").strip()[:_MAX_SEARCH]
    return _Search(LineWish(first, only_failed, text, LINES_PER_PAGE - shown), began, shown)


def _number(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name, str(default))
    if not (said.isascii() and said.isdigit() and len(said) < 12):
        raise ApiError(400, f"The address says {name}={said[:50]!r}; it must be the number of a line.")
    return int(said)


def _query(wish: LineWish, first: int) -> str:
    said = {"show": "failed" if wish.only_failed else "", "q": wish.search, "from": first + 1}
    return urlencode({name: value for name, value in said.items() if value})


def _earlier(search: _Search) -> str:
    """Return the query of the page before. Empty if there is none, or if only a search would find its beginning."""
    wish = search.wish
    if search.began == 0 or wish.search or wish.only_failed:
        return ""
    return _query(wish, max(search.began - LINES_PER_PAGE, 0))


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
