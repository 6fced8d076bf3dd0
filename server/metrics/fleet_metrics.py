"""The metrics of all workers, as their reports have them. If vLLM has the same metric, it has vLLM's name here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from jobs.prometheus_text import head, histogram, sample
from jobs.records.worker_report import WorkerReport
from jobs.stats.request_figures import RequestFigures

# Name, meaning, and the value in a worker's report.
_Metric = tuple[str, str, Callable[[WorkerReport], float]]
_GAUGES: tuple[_Metric, ...] = (
    ("vllm:num_requests_running", "Sequences in the batch.", lambda worker: worker.running),
    ("vllm:num_requests_waiting", "Sequences not yet in the batch.", lambda worker: worker.waiting),
    ("vllm:kv_cache_usage_perc", "Used share of the cache; 1 is all.", lambda worker: worker.kv_cache_usage),
    ("qwen_batch:worker_memory_bytes", "Peak memory.", lambda worker: worker.peak_memory_bytes),
)
_COUNTERS: tuple[_Metric, ...] = (
    ("vllm:prompt_tokens_total", "Prompt tokens computed.", lambda worker: worker.prompt_tokens),
    ("vllm:generation_tokens_total", "Tokens generated.", lambda worker: worker.output_tokens),
    ("vllm:num_preemptions_total", "Sequences that were replayed.", lambda worker: worker.preemptions),
)
_HISTOGRAMS = {
    "time_to_first_token_seconds": "From the arrival at the worker to the first token.",
    "inter_token_latency_seconds": "Between two steps that gave a request tokens.",
    "request_queue_time_seconds": "From the arrival at the worker to the entry into the batch.",
    "request_time_per_output_token_seconds": "Mean time per token of a request after its first token.",
    "e2e_request_latency_seconds": "From the arrival at the worker to the last token.",
    "request_prompt_tokens": "Prompt tokens of a finished request.",
    "request_generation_tokens": "Generated tokens of a finished request.",
}


def fleet_metrics(workers: Sequence[WorkerReport], lost: Sequence[WorkerReport]) -> Iterator[str]:
    """Iterate over the lines of all workers.

    A lost worker keeps its counters until its last report expires, so that what it did last is not missed.

    Args:
        workers: Reports of the live workers.
        lost: Last reports of workers that stopped reporting.
    """
    for name, what, value in _GAUGES:
        yield from _values(name, "gauge", what, value, workers)
    for name, what, value in _COUNTERS:
        yield from _values(name, "counter", what, value, [*workers, *lost])
    yield from _requests([*workers, *lost])
    yield from head("qwen_batch:workers", "gauge", "Workers by model and state.")
    for (model, state), count in sorted(Counter((worker.model, worker.state) for worker in [*workers, *lost]).items()):
        yield sample("qwen_batch:workers", {"model_name": model, "state": state}, count)


def _values(
    name: str, kind: str, what: str, value: Callable[[WorkerReport], float], workers: Sequence[WorkerReport]
) -> Iterator[str]:
    yield from head(name, kind, what)
    for worker in workers:
        yield sample(name, _labels(worker), value(worker))


def _requests(workers: Sequence[WorkerReport]) -> Iterator[str]:
    """Iterate over the counters and histograms of finished requests."""
    figures = [(worker, each) for worker in workers for each in worker.requests]
    yield from head("vllm:request_success_total", "counter", "Finished requests.")
    for worker, each in figures:
        for reason, count in sorted(each.finished.items()):
            labels = {**_labels(worker, each), "finished_reason": reason}
            yield sample("vllm:request_success_total", labels, count)
    for name, what in _HISTOGRAMS.items():
        yield from head(f"vllm:{name}", "histogram", what)
        for worker, each in figures:
            values = each.histograms.get(name)
            if values is not None and len(values.counts) == len(values.borders) + 1:
                labels = _labels(worker, each)
                yield from histogram(f"vllm:{name}", labels, values.borders, values.counts, values.sum)


def _labels(worker: WorkerReport, figures: RequestFigures | None = None) -> dict[str, str]:
    """Return the labels of a worker's series. A worker's id is never used again, but host and pid may be."""
    labels = {"model_name": worker.model, "worker": f"{worker.host}:{worker.pid}"}
    return labels if figures is None else {**labels, "origin": figures.origin}
