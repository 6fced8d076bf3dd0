"""A worker's metrics in the text format of Prometheus, and the HTTP server for them.

If vLLM has the same metric, it has vLLM's name here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from engine.request import Utilization
from jobs.errors import InvalidInput
from jobs.prometheus_text import CONTENT_TYPE, head, sample
from jobs.prometheus_text import histogram as histogram_lines
from worker.online.online_part import OnlineFigures, OnlinePart
from worker.queue.refusals import Refusals
from worker.shards.inference_engine import InferenceEngine
from worker.telemetry.request_meter import Histogram, RequestMeter
from worker.upkeep.store_link import StoreLink


@dataclass
class WorkerMetrics:
    """Collects the counts of the worker's other parts. Thread-safe."""

    model: str  # the served model's name
    meter: RequestMeter
    refusals: Refusals
    link: StoreLink
    engine: InferenceEngine | None = None  # None until the model is loaded
    device: str | None = None  # to show to people: "cpu (avx512)"; None until the model is loaded
    online: OnlinePart | None = None  # None until the model is loaded, or if the worker serves batches only

    def text(self) -> str:
        """Return the metrics for one scrape."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from self._engine_lines()
        with self.meter.lock:
            yield from self._request_lines(self.meter)
        yield from self._online_lines()
        yield from self._state_lines()

    def _engine_lines(self) -> Iterator[str]:
        """Yield how busy the engine is, and what it has computed since its start."""
        now = Utilization() if self.engine is None else self.engine.utilization()
        yield from self._gauge("vllm:num_requests_running", "Sequences in the batch.", now.running)
        yield from self._gauge("vllm:num_requests_waiting", "Sequences not yet in the batch.", now.waiting)
        yield from self._gauge("vllm:kv_cache_usage_perc", "Used share of the cache; 1 is all.", now.kv_cache_usage)
        yield from self._counter("vllm:generation_tokens_total", "Tokens generated.", now.output_tokens)
        yield from self._counter(
            "vllm:prefix_cache_queries_total", "Prompt tokens looked up in the cache.", now.prompt_tokens
        )
        yield from self._counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the cache.", now.cached_tokens)
        yield from self._counter("vllm:spec_decode_num_draft_tokens_total", "Guessed tokens.", now.drafted_tokens)
        yield from self._counter(
            "vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right.", now.accepted_tokens
        )

    def _request_lines(self, meter: RequestMeter) -> Iterator[str]:
        """Yield the counts and times of finished requests. The caller holds the meter's lock."""
        yield from self._counter("vllm:prompt_tokens_total", "Prompt tokens of finished requests.", meter.prompt_tokens)
        yield from head("vllm:request_success_total", "counter", "Finished requests.")
        for reason in ("stop", "length"):
            labels = {**self._labels, "finished_reason": reason}
            yield sample("vllm:request_success_total", labels, meter.finished[reason])
        yield from self._histogram("vllm:time_to_first_token_seconds", "From arrival.", meter.ttft)
        yield from self._histogram(
            "vllm:request_time_per_output_token_seconds", "Mean of a request after its first token.", meter.tpot
        )
        yield from self._histogram(
            "vllm:inter_token_latency_seconds", "Between two steps that gave a request tokens.", meter.inter_token
        )
        yield from self._histogram(
            "vllm:request_queue_time_seconds", "From arrival to the entry into the batch.", meter.queue
        )
        yield from self._histogram("vllm:e2e_request_latency_seconds", "From arrival to the last token.", meter.e2e)

    def _online_lines(self) -> Iterator[str]:
        """Yield the numbers of interactive requests."""
        online = OnlineFigures() if self.online is None else self.online.figures()
        yield from self._gauge(
            "qwen_batch:online_running", "Interactive requests that this worker runs.", online.running
        )
        yield from self._gauge(
            "qwen_batch:online_waiting", "Interactive requests that no worker has taken.", online.waiting
        )

    def _state_lines(self) -> Iterator[str]:
        """Yield the states of model, device, store and queue."""
        yield from self._gauge("qwen_batch:ready", "1 once the model is loaded.", int(self.engine is not None))
        if self.device is not None:
            yield from head("qwen_batch:device_info", "gauge", "Always 1; the label names the device.")
            yield sample("qwen_batch:device_info", {**self._labels, "device": self.device}, 1)
        answers = int(not self.link.failing)
        yield from self._gauge("qwen_batch:store_answers", "0 while the store is in trouble.", answers)
        yield from self._counter(
            "qwen_batch:refused_messages_total", "Items on the queue that were no hints.", self.refusals.count
        )

    def _gauge(self, name: str, what: str, value: float) -> Iterator[str]:
        yield from head(name, "gauge", what)
        yield sample(name, self._labels, value)

    def _counter(self, name: str, what: str, value: float) -> Iterator[str]:
        yield from head(name, "counter", what)
        yield sample(name, self._labels, value)

    def _histogram(self, name: str, what: str, histogram: Histogram) -> Iterator[str]:
        yield from head(name, "histogram", what)
        yield from histogram_lines(name, self._labels, histogram.borders, histogram.counts, histogram.sum)

    @property
    def _labels(self) -> dict[str, str]:
        return {"model_name": self.model}


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
