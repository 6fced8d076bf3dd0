"""The packages of the clients, each in an environment of its own, and the command lines that run there."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.environments import Environment, python_of

NEWEST = Environment("openai-newest", ("openai",))
OLD = Environment("openai-1.60", ("openai==1.60.*", "httpx<0.28"))  # it passes an option that httpx 0.28 lacks
LANGCHAIN = Environment("langchain", ("langchain-openai",))


def python_program(environment: Environment, program: str, folder: Path) -> list[str]:
    """Return the words that run a module of `tools.clients.programs` in an environment, which is installed first."""
    return [str(python_of(environment, folder)), "-m", f"tools.clients.programs.{program}"]
