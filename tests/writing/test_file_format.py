"""The ending of a file's name decides its format."""

from __future__ import annotations

import pytest

from jobs.errors import InvalidInput
from jobs.files.reading.container import Container
from jobs.files.writing.file_format import FileFormat, file_format


@pytest.mark.parametrize(
    ("name", "container", "compression"),
    [
        ("r.jsonl", Container.JSONL, None),
        ("r.csv", Container.CSV, None),
        ("a.b/R.CSV.GZ", Container.CSV, ".gz"),
        ("r.tsv.zst", Container.TSV, ".zst"),
        ("r.parquet", Container.PARQUET, None),
        ("r.feather", Container.ARROW, None),
        ("r.arrow", Container.ARROW, None),
        ("r.jsonl.xz", Container.JSONL, ".xz"),
        ("results", Container.JSONL, None),
        ("r.txt", Container.JSONL, None),
        ("csv", Container.JSONL, None),
    ],
)
def test_the_ending_decides_the_format(name: str, container: Container, compression: str | None) -> None:
    assert file_format(name) == FileFormat(container, compression)


def test_the_user_may_name_the_format() -> None:
    assert file_format("standard output", Container.CSV) == FileFormat(Container.CSV)
    assert file_format("r.jsonl.gz", Container.TSV) == FileFormat(Container.TSV, ".gz")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("r.xlsx", "Excel files are not supported"),
        ("r.parquet.gz", "parquet files are compressed inside"),
        ("r.zip", "zip files are not supported"),
    ],
)
def test_a_format_that_cannot_be_written_is_refused(name: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        file_format(name)
