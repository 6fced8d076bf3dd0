"""Measure how fast rows become prompts: tables with a template, and dicts of a Python generator. No model runs.

    python -m benchmarks.store.rows [--rows 1000000] [--dicts 1000000]

Each stage is a process of its own. Processor time is that of the client, without the helper process of templates.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import qwen_batch
from benchmarks.store.throughput import text
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from model.memory.peak_memory import peak_cpu_memory_bytes
from testing.processes.valkey import running_valkey

TEMPLATE = "Is this review positive or negative? {{ text }}"
WORDS = 20  # words per text
ROWS_PER_GROUP = 65_536
STAGES = ("csv", "parquet", "dicts")


def rows(number: int, words: int = WORDS) -> Iterator[dict[str, object]]:
    """Yield rows of five columns: a key, a text of so many words, a label, a source and a level."""
    luck = random.Random(1)
    texts = [text(luck, words) for _ in range(4096)]
    for row in range(number):
        facts = {"label": "positive", "source": f"source {row % 97}", "level": row % 7}
        yield {"key": f"row-{row}", "text": texts[row % 4096]} | facts


def write_table(path: Path, number: int, words: int = WORDS) -> None:
    """Write the rows to a CSV file or a Parquet file."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["key", "text", "label", "source", "level"])
            writer.writeheader()
            writer.writerows(rows(number, words))
        return
    import pyarrow
    from pyarrow import parquet

    rest = rows(number, words)
    some = pyarrow.RecordBatch.from_pylist(list(islice(rest, ROWS_PER_GROUP)))
    with parquet.ParquetWriter(path, some.schema) as file:
        while some.num_rows:
            file.write_batch(some)
            some = pyarrow.RecordBatch.from_pylist(list(islice(rest, ROWS_PER_GROUP)), some.schema)


def measured(stage: str, number: int, work: Callable[[], object]) -> None:
    """Do the work of a stage, and print its speed, its processor time and the process's peak memory."""
    started, before = time.perf_counter(), time.process_time()
    work()
    seconds, busy = time.perf_counter() - started, time.process_time() - before
    peak = peak_cpu_memory_bytes() / 2**20
    print(
        f"{stage:<8} {number / seconds:>8,.0f} rows/s  {busy / number * 1e6:5.1f} us/row  peak {peak:.0f} MiB",
        flush=True,
    )


def check(path: Path) -> None:
    """Check a table with a template, as `submit` does before it stores the rows."""
    options = ReadingOptions(prompts=PromptOptions(template=TEMPLATE))
    with PromptFile.open(str(path), io.BytesIO(), options) as file:
        file.check()


def run(stage: str, number: int, folder: Path) -> None:
    """Run one stage in this process."""
    if stage == "dicts":
        with running_valkey(folder) as server:
            measured(stage, number, lambda: qwen_batch.submit(rows(number), template=TEMPLATE, redis_url=server.url))
        return
    measured(stage, number, lambda: check(folder / f"rows.{stage}"))


def main() -> None:
    """Run all stages, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the tables")
    parser.add_argument("--dicts", type=int, default=1_000_000, help="dicts that are submitted")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage is not None:
        run(arguments.stage, arguments.dicts if arguments.stage == "dicts" else arguments.rows, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("csv", "parquet"):
            write_table(Path(folder) / f"rows.{name}", arguments.rows)
        for stage in STAGES:
            sizes = ("--rows", str(arguments.rows), "--dicts", str(arguments.dicts))
            program = [sys.executable, "-m", "benchmarks.store.rows", "--stage", stage, "--folder", folder, *sizes]
            subprocess.run(program, check=True)


if __name__ == "__main__":
    main()
