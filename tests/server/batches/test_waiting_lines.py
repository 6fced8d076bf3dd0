"""The limit of lines of a project that wait for a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from jobs.batches.batch import Batch, BatchPhase
from jobs.submission.job_client import JobClient
from server.clerk.import_batch import import_batch
from server.options import Limits
from server.stores import Stores
from tests.server.batches.conftest import OPTIONS, NoHints, imported, new_batch, run
from tests.server.conftest import chat_line


def test_the_waiting_lines_of_a_project_are_limited(stores: Stores) -> None:
    roomy = structs.replace(OPTIONS, limits=structs.replace(Limits(), waiting_lines=5))
    first = imported(stores, new_batch(stores, *map(chat_line, range(3))), roomy)
    second = imported(stores, new_batch(stores, *map(chat_line, range(3))), roomy)
    assert (first.phase, second.phase) == (BatchPhase.SUBMITTED, BatchPhase.FAILED)
    (error,) = second.errors
    assert error.code == "waiting_lines_limit_exceeded"
    assert "The file has 3 lines, and 3 lines of the project p wait already. At most 5 may wait." in error.message
    run(stores, first)  # its files are not written yet, but none of its lines waits any more
    assert imported(stores, new_batch(stores, *map(chat_line, range(3))), roomy).phase is BatchPhase.SUBMITTED


def test_two_imports_at_one_moment_keep_to_the_limit_together(stores: Stores) -> None:
    limited = structs.replace(OPTIONS, limits=structs.replace(Limits(), waiting_lines=5))
    first, second = (new_batch(stores, *map(chat_line, range(3))) for _ in range(2))
    seen: list[Batch] = []

    class Meanwhile(NoHints):
        """Imports the other batch after the job was stored, and before its batch names it."""

        def send(self, model: str, shards: Any) -> int:
            seen.append(imported(stores, second, limited))
            return 0

    import_batch(stores, JobClient(stores.jobs, Meanwhile()), "p", first.id, limited)
    after = stores.batches.get("p", first.id)
    assert after is not None
    assert after.phase is BatchPhase.SUBMITTED
    assert [error.code for error in seen[0].errors] == ["waiting_lines_limit_exceeded"]


@pytest.mark.parametrize(("project", "phase"), [("p", BatchPhase.FAILED), ("q", BatchPhase.SUBMITTED)])
def test_a_project_may_have_another_limit_of_waiting_lines(
    stores: Stores, tmp_path: Path, project: str, phase: BatchPhase
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [], "limits": {project: {"waiting_lines": 1}}}))
    own = structs.replace(OPTIONS, keys_file=str(keys))
    assert imported(stores, new_batch(stores, chat_line(1), chat_line(2)), own).phase is phase


def test_an_unreadable_file_of_keys_fails_no_batch(stores: Stores, tmp_path: Path) -> None:
    own = structs.replace(OPTIONS, keys_file=str(tmp_path / "gone.json"))
    assert imported(stores, new_batch(stores, chat_line(1)), own).phase is BatchPhase.SUBMITTED
