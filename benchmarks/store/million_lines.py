"""Measure a job of a million lines without a model: lines per second, and memory over time, of each stage.

    python -m benchmarks.store.million_lines [--lines 1000000] [--container parquet] [--output build/million-lines]

`--container` is the format of both the prompts and the results. Rows of CSV and Parquet have two further columns.

Starts its own server. Writes `results.json` and `memory.png` to the output folder. Each stage is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from benchmarks.store.throughput import text
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.files.writing.destination import LocalFile
from jobs.files.writing.file_format import file_format
from jobs.files.writing.rows import Layout, rows_to
from testing.processes.valkey import ValkeyProcess, running_valkey

SAMPLE_SECONDS = 0.1
COMMAND_LINE = (sys.executable, "-m", "cli.main")
PROMPTS = 4096  # number of different prompts


@dataclass
class Part:
    """One stage of the job, which is a process."""

    name: str
    lines: int
    seconds: float = 0.0
    busy: float = 0.0  # seconds of processor time, with that of helper processes
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds since its start, MB

    @property
    def peak(self) -> float:
        """Peak memory in MB."""
        return max((megabytes for _, megabytes in self.memory), default=0.0)


def watched(name: str, lines: int, *command: str | Path) -> tuple[Part, str]:
    """Run a command and sample its memory. Returns the stage, and what the command wrote to stdout."""
    part = Part(name, lines)
    before = _busy_seconds()
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = psutil.Popen([str(word) for word in command], stdout=output)
        while process.poll() is None:
            try:
                part.memory.append((time.perf_counter() - started, process.memory_info().rss / 1e6))
            except psutil.NoSuchProcess:
                break
            time.sleep(SAMPLE_SECONDS)
        if process.wait() != 0:
            raise SystemExit(f"{name} ended with exit code {process.returncode}.")
        part.seconds = time.perf_counter() - started
        part.busy = _busy_seconds() - before
        output.seek(0)
        speed = f"{lines / part.seconds:>10,.0f} lines/s  ({part.seconds:.1f} s)"
        print(f"{name:<8} {speed}  {part.busy / lines * 1e6:5.1f} us/line  peak {part.peak:.0f} MB", flush=True)
        return part, output.read()


def _busy_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def write_prompts(path: Path, num_lines: int) -> None:
    """Write a file of English-like prompts of 20 words."""
    luck = random.Random(1)
    texts = [text(luck, 20) for _ in range(PROMPTS)]
    form = file_format(path.name)
    with LocalFile(path).open() as output, rows_to(output, form, Layout) as rows:
        for line in range(num_lines):
            row = {"id": f"line-{line}", "prompt": texts[line % PROMPTS]}
            columns = {"gold": str(line), "level": line % 7} if form.is_table else {}
            rows.write(json.dumps(row | columns).encode() + b"\n")
        rows.finish()


def ids_of(path: Path) -> Iterator[str]:
    """Iterate over the ids of a file of results."""
    reader = RowReader.of(path.name, lambda: path.open("rb"), ReadingOptions())
    with reader.rows() as rows:
        for _, row in rows:
            yield json.loads(row)["id"] if isinstance(row, bytes) else ""


def measure(server: ValkeyProcess, folder: Path, num_lines: int, container: str) -> dict[str, object]:
    """Run all stages of a job. Returns the figures."""
    prompts, results = folder / f"prompts.{container}", folder / f"results.{container}"
    write_prompts(prompts, num_lines)
    url = ("--redis-url", server.url)
    with server.client() as client:
        before = client.info("memory")["used_memory"]
        submit, job = watched("submit", num_lines, *COMMAND_LINE, "submit", prompts, "--model", "someone/stub", *url)
        job = job.strip()
        worker, _ = watched("worker", num_lines, sys.executable, "-m", "benchmarks.store.stub_worker", server.url, job)
        fetch, _ = watched("results", num_lines, *COMMAND_LINE, "results", job, "-o", results, *url)
        ids = sum(id == f"line-{number}" for number, id in enumerate(ids_of(results)))
        if ids != num_lines:
            raise SystemExit(f"{ids} of {num_lines} lines came back in their places.")
        used = client.info("memory")["used_memory"] - before
        file_bytes = prompts.stat().st_size + results.stat().st_size
        print(f"store    {used / 1e6:,.0f} MB for {file_bytes / 1e6:,.0f} MB of files: {used / file_bytes:.2f}")
        delete, _ = watched("delete", num_lines, *COMMAND_LINE, "delete", job, *url)
        left = client.info("memory")["used_memory"] - before
        print(f"left     {left / 1e6:,.1f} MB after delete")
    parts = [asdict(part) | {"peak": part.peak} for part in (submit, worker, fetch, delete)]
    return {"lines": num_lines, "store_bytes": used, "file_bytes": file_bytes, "left_bytes": left, "parts": parts}


def draw(figures: dict[str, object], path: Path) -> None:
    """Draw memory over time, with one line per stage."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.5), layout="constrained")
    for part in figures["parts"]:  # type: ignore[attr-defined]
        seconds, megabytes = zip(*part["memory"], strict=True)
        axes.plot(seconds, megabytes, label=f"{part['name']}: {part['lines'] / part['seconds']:,.0f} lines/s")
    axes.axhline(250, color="grey", linestyle=":", label="250 MB")
    axes.set(xlabel="seconds", ylabel="memory, MB", ylim=(0, None), title=f"A job of {figures['lines']:,} lines")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--container", choices=("jsonl", "csv", "parquet", "arrow"), default="jsonl")
    parser.add_argument("--output", type=Path, default=Path("build/million-lines"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as server:
        figures = measure(server, Path(folder), options.lines, options.container)
    (options.output / "results.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    draw(figures, options.output / "memory.png")


if __name__ == "__main__":
    main()
