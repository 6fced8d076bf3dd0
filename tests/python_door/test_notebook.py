"""The notebook of the examples runs from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from testing.processes.command_line import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The code cells with their outputs."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in list(os.environ):
        if name.startswith("QWEN_BATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QWEN_BATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("QWEN_BATCH_COMPILE", "false")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    examples = REPOSITORY / "examples"
    notebook = nbformat.read(examples / "notebook.ipynb", as_version=4)
    resources = {"metadata": {"path": str(examples)}}
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
    assert list((tmp_path / "state" / "runs").iterdir()) == []
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.filterwarnings("default")  # those of Jupyter are not ours
def test_the_notebook_answers_its_table_and_shows_a_bar(cells: list[Any]) -> None:
    starts, _, waits, _, counts, stops = [cell.outputs for cell in cells]
    assert (starts, stops) == ([], [])
    (bar, count) = waits
    assert bar.data["text/plain"] == "completed: 5/5 lines"
    assert bar.data["text/html"].startswith('<progress value="5" max="5"></progress> completed')
    assert count.data["text/plain"] == "5"
    assert counts[0].data["text/plain"] == "5"
