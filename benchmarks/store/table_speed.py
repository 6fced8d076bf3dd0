"""Measure `check` and `submit` of tables with a template, and of native lines. No model runs.

    python -m benchmarks.store.table_speed [--rows 1000000] [--rounds 1] [--files short.csv,long.parquet]

The tables `short` have about 100 bytes of text per row, and the tables `long` about 870. Each command is a process of
its own, and the server is a real one. Processor time is that of the command with its helper processes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.store.million_lines import COMMAND_LINE, watched, write_prompts
from benchmarks.store.rows import write_table
from testing.processes.valkey import running_valkey

TEMPLATE = "Classify: {{ text }}"
WORDS = {"short": 26, "long": 224}  # words per text: about 100 and 870 bytes
FILES = ("short.csv", "short.parquet", "long.csv", "long.parquet", "native.jsonl")
MAX_MEGABYTES = 250


def write(path: Path, rows: int) -> None:
    """Write a file of `FILES`."""
    if path.stem in WORDS:
        write_table(path, rows, WORDS[path.stem])
    else:
        write_prompts(path, rows)


def measure(path: Path, rows: int) -> float:
    """Check and submit a file to a server of its own. Returns the largest memory of a command in MB."""
    words: tuple[str | Path, ...] = (path, "--model", "someone/stub")
    if path.stem in WORDS:
        words += ("--template", TEMPLATE)
    print(f"{path.name}: {rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB", flush=True)
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as server:
        check, _ = watched("check", rows, *COMMAND_LINE, "check", *words)
        submit, _ = watched("submit", rows, *COMMAND_LINE, "submit", *words, "--redis-url", server.url)
    return max(check.peak, submit.peak)


def main() -> None:
    """Run the benchmark. Ends with exit code 1 if a command takes more than 250 MB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows per file")
    parser.add_argument("--rounds", type=int, default=1, help="how often all files are measured, in turn")
    parser.add_argument("--files", default=",".join(FILES), help=f"some of {', '.join(FILES)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in options.files.split(",")]
        for path in paths:
            write(path, options.rows)
        peak = max(measure(path, options.rows) for _ in range(options.rounds) for path in paths)
    if peak > MAX_MEGABYTES:
        raise SystemExit(f"A command took {peak:.0f} MB; at most {MAX_MEGABYTES} MB are allowed.")


if __name__ == "__main__":
    main()
