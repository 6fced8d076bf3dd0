"""A worker without a model that streams the current time: each piece of text says when it was made.

python -m benchmarks.http_load.stream_worker REDIS_URL MODEL STREAMS PIECES PIECES_PER_SECOND
"""

from __future__ import annotations

import argparse
import threading
import time

from jobs.online.messages import OnlineRequest
from jobs.online.redis_online import RedisOnline
from jobs.stores.connect import connect_server
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken

REPORT_SECONDS = 0.5


def main() -> None:
    """Take so many requests, and give all of them a piece of text per step, as one batch of a real worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("redis_url")
    parser.add_argument("model")
    parser.add_argument("streams", type=int)
    parser.add_argument("pieces", type=int)
    parser.add_argument("rate", type=float)
    said = parser.parse_args()
    store = RedisOnline(connect_server(said.redis_url))
    worker, stopped = ScriptedWorker(store, said.model), threading.Event()
    reporter = threading.Thread(target=_report, args=(store, said.model, worker.name, stopped))
    store.report_worker(said.model, worker.name)  # before it takes a request, because a silent worker counts as dead
    reporter.start()
    try:
        requests = list[OnlineRequest]()
        while len(requests) < said.streams:
            requests.append(worker.take())
            worker.say(requests[-1], taken(requests[-1]))
        _stream(worker, requests, said.pieces, said.rate)
    finally:
        stopped.set()
        reporter.join()


def _stream(worker: ScriptedWorker, requests: list[OnlineRequest], number: int, rate: float) -> None:
    """Send the pieces of all requests together, one entry per step."""
    began, text = time.monotonic(), ""
    for step in range(number):
        time.sleep(max(began + step / rate - time.monotonic(), 0))
        piece = f"{time.monotonic():.6f} "
        replies = [reply for request in requests for reply in pieces(request, piece, offset=len(text))]
        worker.say(requests[0], *replies)
        text += piece
    worker.say(requests[0], *(end(request, text) for request in requests))


def _report(store: RedisOnline, model: str, name: str, stopped: threading.Event) -> None:
    while not stopped.wait(REPORT_SECONDS):
        store.report_worker(model, name)


if __name__ == "__main__":
    main()
