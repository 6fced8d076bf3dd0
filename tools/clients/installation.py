"""The packages of the clients, each in an environment of its own, and the command lines that run there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.environments import Environment, python_of

NEWEST = Environment("openai-newest", ("openai",))
OLD = Environment("openai-1.60", ("openai==1.60.*", "httpx<0.28"))  # it passes an option that httpx 0.28 lacks
LANGCHAIN = Environment("langchain", ("langchain-openai",))
NODE_PACKAGES = ("openai@latest", "node@22")  # OpenAI's newest client needs a newer Node than many machines have
PROGRAMS = Path(__file__).parent / "programs"


def python_program(environment: Environment, program: str, folder: Path) -> list[str]:
    """Return the words that run a module of `tools.clients.programs` in an environment, which is installed first."""
    return [str(python_of(environment, folder)), "-m", f"tools.clients.programs.{program}"]


def node_program(folder: Path) -> list[str]:
    """Return the words that run the program for Node. They name a copy, because Node looks for packages beside it."""
    home = folder / "node"
    stamp, wanted = home / ".installed", repr(NODE_PACKAGES)
    home.mkdir(parents=True, exist_ok=True)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Installing {', '.join(NODE_PACKAGES)} into {home} …", file=sys.stderr, flush=True)
        npm = ["npm", "install", "--silent", "--prefix", str(home), *NODE_PACKAGES]
        subprocess.run(npm, cwd=home, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    for path in PROGRAMS.glob("*.mjs"):
        shutil.copy(path, home)
    return [str(home / "node_modules" / ".bin" / "node"), str(home / "openai_client.mjs")]
