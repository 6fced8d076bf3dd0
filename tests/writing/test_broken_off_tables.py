"""Tables whose writing fails: nothing half-written stays, and the error says why."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import OutputNotWritable, ResultsMissing
from jobs.files.reading.container import Container
from jobs.files.results.results_file import ResultStyle, write_results
from jobs.files.writing.destination import LocalFile
from tests.writing.echoing import EchoJob, rows_of


@pytest.fixture
def job(tmp_path: Path) -> EchoJob:
    """Three finished lines."""
    path = tmp_path / "source.csv"
    path.write_text("id,prompt\na,one\nb,two\nc,three\n")
    return EchoJob(path)


def test_lost_results_are_left_out_on_a_stream_and_prevent_a_file(job: EchoJob, tmp_path: Path) -> None:
    kept = list(job.store.jobs.results(job.job.id))[1:]
    stream = io.BytesIO()
    with pytest.raises(ResultsMissing, match="lines 1"):
        write_results(kept, job.job, stream, style=ResultStyle(Container.CSV))
    assert [line.partition(b",")[0] for line in stream.getvalue().splitlines()] == [b"id", b"b", b"c"]
    with pytest.raises(ResultsMissing):
        write_results(kept, job.job, LocalFile(tmp_path / "out.parquet"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is Linux's")
@pytest.mark.parametrize("container", [Container.CSV, Container.PARQUET, Container.ARROW])
def test_a_full_disk_is_one_clear_error(job: EchoJob, container: Container) -> None:
    with pytest.raises(OutputNotWritable, match="/dev/full cannot be written: its disk is full"):
        job.write(Path("/dev/full"), container=container)


KILLED = """
import os, sys
from pathlib import Path
from jobs.files.writing.destination import LocalFile
from jobs.files.writing.file_format import file_format
from jobs.files.writing.rows import Layout, rows_to
path = Path(sys.argv[1])
with LocalFile(path).open() as output, rows_to(output, file_format(path.name), Layout) as rows:
    for number in range(3000):
        rows.write(b'{"id": "%d"}\\n' % number)
    rows.finish()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("name", ["out.parquet", "out.csv.gz"])
def test_a_killed_writer_leaves_nothing_after_the_next_run(job: EchoJob, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", KILLED, str(folder / name)],
        env=os.environ | {"TMPDIR": str(temporary)},
        check=False,
    )
    assert done.returncode == -9
    assert not (folder / name).exists()
    assert len(rows_of(job.write(folder / name))) == 3
    assert [path.name for path in folder.iterdir()] == [name]
    assert list(temporary.iterdir()) == []
