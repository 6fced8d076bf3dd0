"""Every command of docs/recipes.md prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.processes.command_line import environment
from testing.processes.quick_interpreter import quick_command

REPOSITORY = Path(__file__).resolve().parents[2]


def recipes() -> dict[str, list[tuple[str, str]]]:
    """The commands under each heading of the page, in order, each with the output that follows it."""
    page = (REPOSITORY / "docs" / "recipes.md").read_text()
    headed = (section.partition("\n") for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:])
    return {heading: commands for heading, _, text in headed if (commands := _commands(text))}


def _commands(text: str) -> list[tuple[str, str]]:
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    ") or not line)
    parts = re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]
    return [(command, output.strip("\n")) for command, _, output in (part.partition("\n") for part in parts)]


def test_the_page_has_recipes() -> None:
    assert len(recipes()) >= 6


@pytest.mark.parametrize("heading", recipes())
def test_every_command_of_a_recipe_prints_what_the_page_says(heading: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    folders = (Path(quick_command()).parent, Path(sys.executable).parent, os.environ["PATH"])
    variables = environment(tmp_path / "state") | {"PATH": ":".join(map(str, folders))}
    for command, expected in recipes()[heading]:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert [line.rstrip() for line in done.stdout.rstrip().splitlines()] == expected.splitlines(), command
