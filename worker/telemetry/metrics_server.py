"""Serve a worker's metrics over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jobs.errors import InvalidInput
from worker.telemetry.metrics import CONTENT_TYPE


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def serve_metrics(port: int, text: Callable[[], str]) -> None:
    """Answer `GET /metrics` on a port of every interface, on a thread that lives as long as the process.

    Args:
        port: Port from 1 to 65535.
        text: Returns the answer. Called for each scrape.

    Raises:
        InvalidInput: The port is not available or not valid.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # max seconds to read a request

        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404, explain="There is only /metrics.")
                return
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: there is a scrape every few seconds."""

    try:
        server = _Server(("", port), Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must be from 1 to 65535"
        raise InvalidInput(
            f"Metrics cannot be served on port {port}: {reason}.", "Name another port with --metrics-port."
        ) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
