"""Measure large tables from end to end, without a model: a CSV file of 3 GB and a Parquet file of a million rows.

    python -m benchmarks.store.large_tables [--files csv,parquet] [--gigabytes 3] [--rows 1000000] [--folder /tmp]

Each file is checked, submitted with a template, answered by a worker without a model, and written as `out.parquet`.
Each stage is a process of its own, and the server is a real one. The files are in a temporary folder, which is removed.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from benchmarks.store.million_lines import COMMAND_LINE, watched
from benchmarks.store.throughput import text
from testing.processes.valkey import ValkeyProcess, running_valkey

TEMPLATE = "Is this review positive or negative? {{ title }}: {{ text }}"
COLUMNS = ("title", "text", "rating", "date")
WORDS = {"csv": 200, "parquet": 60}  # words per row: about 1.1 kB in CSV
REVIEWS = 4096  # number of different reviews
ROWS_PER_GROUP = 65_536
MAX_MEGABYTES = 250


def reviews(words: int) -> Iterator[tuple[str, str, int, str]]:
    """Yield reviews without end. Their texts have commas, quotes and line breaks, as texts of people do."""
    luck = random.Random(1)
    some = []
    for number in range(REVIEWS):
        sentences = [text(luck, 10) for _ in range(words // 10)]
        day = f"20{number % 24 + 1:02}-{number % 12 + 1:02}-{number % 28 + 1:02}"
        some.append((f'"{text(luck, 3)}", they say', "\n".join(sentences), number % 5 + 1, day))
    return cycle(some)


def write_csv(path: Path, num_bytes: int) -> int:
    """Write a CSV file of at least `num_bytes` bytes. Returns its number of rows."""
    rows = 0
    lines = []
    for review in islice(reviews(WORDS["csv"]), REVIEWS):
        written = io.StringIO(newline="")
        csv.writer(written).writerow(review)
        lines.append(written.getvalue().encode())
    with path.open("wb") as file:
        file.write((",".join(COLUMNS) + "\r\n").encode())
        for line in cycle(lines):
            file.write(line)
            rows += 1
            if file.tell() >= num_bytes:
                return rows
    raise AssertionError("there are lines without end")


def write_parquet(path: Path, num_rows: int) -> int:
    """Write a Parquet file with whole numbers and dates. Returns its number of rows."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema(
        [
            ("title", pyarrow.string()),
            ("text", pyarrow.string()),
            ("rating", pyarrow.int8()),
            ("date", pyarrow.date32()),
        ]
    )
    rest = islice(reviews(WORDS["parquet"]), num_rows)
    with parquet.ParquetWriter(path, schema) as file:
        while some := list(islice(rest, ROWS_PER_GROUP)):
            columns = [pyarrow.array(values) for values in zip(*some, strict=True)]
            arrays = [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)]
            file.write_batch(pyarrow.record_batch(arrays, schema=schema))
    return num_rows


def measure(server: ValkeyProcess, path: Path, rows: int) -> float:
    """Run all stages over a file. Returns the largest memory of a command in MB."""
    from pyarrow import parquet

    out = path.with_name("out.parquet")
    url = ("--redis-url", server.url)
    job_of = ("--model", "someone/stub", "--template", TEMPLATE)
    print(f"{path.name}: {rows:,} rows, {path.stat().st_size / 1e9:.2f} GB", flush=True)
    check, _ = watched("check", rows, *COMMAND_LINE, "check", path, *job_of)
    submit, said = watched("submit", rows, *COMMAND_LINE, "submit", path, *job_of, *url)
    job = said.strip()
    watched("worker", rows, sys.executable, "-m", "benchmarks.store.stub_worker", server.url, job)
    results, _ = watched("results", rows, *COMMAND_LINE, "results", job, "-o", out, *url)
    found = parquet.read_metadata(out)
    if found.num_rows != rows:
        raise SystemExit(f"{found.num_rows:,} of {rows:,} rows came back.")
    print(f"{out.name}: {out.stat().st_size / 1e9:.2f} GB in {found.num_row_groups:,} row groups", flush=True)
    out.unlink()
    watched("delete", rows, *COMMAND_LINE, "delete", job, *url)
    return max(check.peak, submit.peak, results.peak)


def main() -> None:
    """Run the benchmark. Ends with exit code 1 if a command takes more than 250 MB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="csv,parquet", help="csv, parquet or both")
    parser.add_argument("--gigabytes", type=float, default=3.0, help="size of the CSV file")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the Parquet file")
    parser.add_argument("--folder", type=Path, help="folder for the temporary files; the system's if not given")
    options = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running_valkey(Path(name)) as server:
        folder = Path(name)
        if "csv" in options.files.split(","):
            path = folder / "reviews.csv"
            peaks.append(measure(server, path, write_csv(path, round(options.gigabytes * 1e9))))
            path.unlink()
        if "parquet" in options.files.split(","):
            path = folder / "reviews.parquet"
            peaks.append(measure(server, path, write_parquet(path, options.rows)))
    if max(peaks) > MAX_MEGABYTES:
        raise SystemExit(f"A command took {max(peaks):.0f} MB; at most {MAX_MEGABYTES} MB are allowed.")


if __name__ == "__main__":
    main()
