"""The application: the table of routes, and the middleware around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.key_middleware import KeyMiddleware
from server.api.batches import BatchesApi
from server.api.files import FilesApi
from server.api.interactive import InteractiveApi
from server.api.models import ModelsApi
from server.api.results import ResultsApi
from server.health import HealthApi
from server.limits.limit_middleware import LimitMiddleware
from server.metrics.http_meter import set_route
from server.metrics.metrics_api import MetricsApi
from server.middleware.api_error import ApiError
from server.middleware.error_middleware import ErrorMiddleware
from server.middleware.host_middleware import HostMiddleware
from server.middleware.origin_middleware import OriginMiddleware
from server.middleware.request_log import RequestLog
from server.pages.table import Pages
from server.schema.schema_api import SchemaApi
from server.state import Services

Handler = Callable[[Request], Awaitable[Response]]

# Parts of OpenAI's API that this service does not have. The error names them, so that nobody looks for a typing error.
_ABSENT = {
    "/v1/uploads": "Resumable uploads are not supported. Upload the file with POST /v1/files.",
    "/v1/fine_tuning": "Fine-tuning is not supported.",
    "/v1/responses": "No response is kept. Send the earlier messages in `input` of POST /v1/responses.",
    "/v1/conversations": "Conversations are not kept. Send the earlier messages in `input` of POST /v1/responses.",
}

_ROOT = "/v1"


def routes(services: Services) -> Mapping[str, Mapping[str, Handler]]:
    """Return the handler of each path and method."""
    files, batches, models = FilesApi(services), BatchesApi(services), ModelsApi(services)
    health, interactive = HealthApi(services), InteractiveApi(services)
    table: dict[str, Mapping[str, Handler]] = {
        "/v1/files": {"GET": files.listing, "POST": files.upload},
        "/v1/files/{id}": {"GET": files.show, "DELETE": files.delete},
        "/v1/files/{id}/content": {"GET": files.content},
        "/v1/batches": {"GET": batches.listing, "POST": batches.create},
        "/v1/batches/{id}": {"GET": batches.show},
        "/v1/batches/{id}/cancel": {"POST": batches.cancel},
        "/v1/batches/{id}/results": {"GET": ResultsApi(services).so_far},
        "/v1/chat/completions": {"POST": interactive.chat},
        "/v1/completions": {"POST": interactive.completions},
        "/v1/responses": {"POST": interactive.responses},
        "/v1/score": {"POST": interactive.score},
        "/v1/embeddings": {"POST": interactive.embeddings},
        "/v1/rerank": {"POST": interactive.rerank},
        "/v1/models": {"GET": models.listing},
        "/v1/models/{id:path}": {"GET": models.show},
        "/health": {"GET": health.alive},
        "/ready": {"GET": health.ready},
        "/metrics": {"GET": MetricsApi(services).scrape},
    }
    schema = SchemaApi(table)
    table |= {"/openapi.json": {"GET": schema.document}, "/docs": {"GET": schema.page}}
    return table


def make_app(services: Services) -> ASGIApp:
    """Return the application. Its middleware is pure ASGI, so that handlers notice a client that leaves."""
    table = routes(services)
    known = [Route(path, _Methods(path, handlers)) for path, handlers in table.items()]
    router = Router(known, redirect_slashes=False, default=_UnknownPath(table))
    options = services.options
    limited = LimitMiddleware(router, services.rates, services.limits_of)
    api = KeyMiddleware(limited, services.keys, options.auth)
    hosts = HostMiddleware(Pages(api, services), options.host_names)
    return RequestLog(OriginMiddleware(ErrorMiddleware(hosts), options.origins), services.meter)


class _Methods:
    """Handles one path: calls the handler of the request's method. HEAD is a GET whose body is not sent."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        set_route(scope, self._path)
        handler = self._handlers.get(scope["method"])
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            raise ApiError(
                405,
                f"Not allowed to {scope['method']} on {_shown(scope)}. Allowed: {allowed}.",
                code="method_not_supported",
                headers={"allow": allowed},
            )
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)


class _UnknownPath:
    """Refuses a path that is not in the table, with advice if the reason is known."""

    def __init__(self, known: Iterable[str]) -> None:
        self._below_root = {_first_part(path.removeprefix(_ROOT)) for path in known if path.startswith(f"{_ROOT}/")}

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        path = scope["path"]
        for absent, reason in _ABSENT.items():
            if path == absent or path.startswith(f"{absent}/"):
                raise ApiError(404, reason)
        lacks_root = _first_part(path) in self._below_root
        advice = f". The base URL of a client must end with {_ROOT}" if lacks_root else ""
        raise ApiError(404, f"Invalid URL ({scope['method']} {_shown(scope)}){advice}")


def _first_part(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]


def _shown(scope: Scope) -> str:
    path: str = scope["path"]
    return "".join(char if char.isprintable() else "?" for char in path[:200])
