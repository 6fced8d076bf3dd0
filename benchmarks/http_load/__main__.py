"""Measure the HTTP service under load.

    python -m benchmarks.http_load [--only PART] [--uploads N] [--clients N] [--streams N] [--seconds N]

The command starts a Valkey server and `qwen-batch serve`. No model runs. It prints latencies, rates, and the memory
and processor time of the service's processes, in these parts:

- `uploads`: large files at once, and a download,
- `polling`: clients that ask for a batch once per second,
- `imports`: the import and the finish of a large file, and new batches meanwhile,
- `streams`: one stream, and many at once,
- `listings`: pages of a project with many files and batches.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.http_load.imports import measure_import, measure_small_imports
from benchmarks.http_load.listings import measure_listings
from benchmarks.http_load.polling import measure_polling
from benchmarks.http_load.service import MEBIBYTE, serving
from benchmarks.http_load.streams import measure_streams
from benchmarks.http_load.uploads import measure_uploads
from testing.processes.valkey import running_valkey

PARTS = ("uploads", "polling", "imports", "streams", "listings")
PIECES_PER_SECOND = 20.0


def main() -> None:
    """Start the service and load it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; repeatable (default: all)")
    parser.add_argument("--uploads", type=int, default=4, help="files that are uploaded at once")
    parser.add_argument("--mebibytes", type=int, default=200, help="size of each file")
    parser.add_argument("--clients", type=int, default=1000, help="connections that poll once per second")
    parser.add_argument("--streams", type=int, default=200, help="streams at once")
    parser.add_argument("--seconds", type=int, default=20, help="duration of the polling and of the streams")
    parser.add_argument("--batches", type=int, default=10_000, help="batches of the project with many")
    parser.add_argument("--files", type=int, default=100_000, help="files of the project with many")
    said = parser.parse_args()
    parts = said.only or PARTS
    with (
        tempfile.TemporaryDirectory() as name,
        running_valkey(Path(name)) as valkey,
        serving(valkey, Path(name)) as service,
    ):
        if "uploads" in parts:
            measure_uploads(service, said.uploads, said.mebibytes * MEBIBYTE)
        if "polling" in parts:
            measure_polling(service, said.clients, said.seconds)
        if "imports" in parts:
            measure_small_imports(service)
            measure_import(service, said.mebibytes * MEBIBYTE)
        if "streams" in parts:
            measure_streams(service, 1, PIECES_PER_SECOND, said.seconds)
            measure_streams(service, said.streams, PIECES_PER_SECOND, said.seconds)
        if "listings" in parts:
            measure_listings(service, said.batches, said.files)


if __name__ == "__main__":
    main()
