"""Run real clients against `qwen-batch serve --with-worker`. Fails if a check fails.

    python -m tools.clients [--folder build/clients] [--only NAME]

Each client is a process of its own, with packages of its own: OpenAI's client for Python, the newest one and 1.60, the
newest one for Node, and LangChain. `--folder` holds these packages; the first call installs them. The log of the
service goes there, too. The service uses the demo model. Each check prints one line that begins with `ok` or `FAILED`.
The examples with curl have a test of their own, `tests/server/test_documented_examples.py`.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from jobs import tether
from testing.processes.command_line import REPOSITORY
from tools.clients.installation import LANGCHAIN, NEWEST, OLD, node_program, python_program
from tools.clients.service import serving_with_worker

# What each name of `--only` runs. The functions return the words of a command line, and install what it needs.
PROGRAMS: dict[str, Callable[[Path], list[str]]] = {
    "batches": lambda folder: python_program(NEWEST, "batch_life", folder),
    "listings": lambda folder: python_program(NEWEST, "listings", folder),
    "guide": lambda folder: python_program(NEWEST, "guide_loop", folder),
    "old-batches": lambda folder: python_program(OLD, "batch_life", folder),
    "old-listings": lambda folder: python_program(OLD, "listings", folder),
    "old-guide": lambda folder: python_program(OLD, "guide_loop", folder),
    "node": node_program,
    "langchain": lambda folder: python_program(LANGCHAIN, "langchain_chat", folder),
    "large-file": lambda folder: python_program(NEWEST, "large_file", folder),
    "pollers": lambda folder: python_program(NEWEST, "pollers", folder),
}


def run_program(words: list[str], address: str) -> bool:
    """Run one client to its end. It prints its checks. Returns True if all held."""
    with tempfile.TemporaryDirectory() as scratch:
        command = tether.command([*words, address, scratch], signal.SIGTERM)
        return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


def main() -> None:
    """Install the clients, start the service and run all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "build" / "clients", help="for packages and the service's log"
    )
    parser.add_argument("--only", choices=PROGRAMS, action="append", help="one client; repeatable (default: all)")
    said = parser.parse_args()
    commands = {name: PROGRAMS[name](said.folder.resolve()) for name in said.only or PROGRAMS}
    failed, log = [], said.folder / "serve.log"
    with tempfile.TemporaryDirectory() as name, serving_with_worker(Path(name), log) as address:
        for name_of_client, words in commands.items():
            if not run_program(words, address):
                failed.append(name_of_client)
    print(f"FAILED: {', '.join(failed)}" if failed else f"all checks of {len(commands)} clients hold")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
