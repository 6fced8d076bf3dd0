"""Formats of the files that commands write. The ending of a file's name decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from jobs.errors import InvalidInput
from jobs.files.reading.container import Container

WRITTEN = (Container.JSONL, Container.CSV, Container.TSV, Container.PARQUET, Container.ARROW)

_ENDINGS = {
    ".csv": Container.CSV,
    ".tsv": Container.TSV,
    ".tab": Container.TSV,
    ".parquet": Container.PARQUET,
    ".pq": Container.PARQUET,
    ".arrow": Container.ARROW,
    ".feather": Container.ARROW,
}
_COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
_NOT_WRITTEN = {".xlsx": "Excel", ".xls": "Excel", ".ods": "OpenDocument", ".zip": "zip"}


@dataclass(frozen=True)
class FileFormat:
    """Format of a file of rows."""

    container: Container = Container.JSONL
    compression: str | None = None  # ending of the compressed file's name, such as `.gz`

    @property
    def is_table(self) -> bool:
        """True if all rows have the same columns."""
        return self.container is not Container.JSONL

    @property
    def is_binary(self) -> bool:
        """True for Parquet and Arrow."""
        return self.container in (Container.PARQUET, Container.ARROW)


def file_format(name: str, said: Container | None = None) -> FileFormat:
    """Return the format of a file that is to be written. A name without a known ending gives JSONL.

    Args:
        name: Name or path of the file.
        said: The container, if the user names it. It overrides the ending of the name, but not the compression.

    Raises:
        InvalidInput: The format cannot be written, or its library is not installed.
    """
    compression = compression_of(name)
    ending = PurePosixPath(name.lower().removesuffix(compression or "")).suffix
    if said is None and ending in _NOT_WRITTEN:
        raise InvalidInput(
            f"{name} cannot be written: {_NOT_WRITTEN[ending]} files are not supported.",
            "Name a file that ends with .jsonl, .csv, .tsv, .parquet or .arrow.",
        )
    format = FileFormat(said or _ENDINGS.get(ending, Container.JSONL), compression)
    if format.is_binary:
        if compression is not None:
            raise InvalidInput(
                f"{name} cannot be written: {format.container} files are compressed inside.",
                f"Leave out the ending {compression}.",
            )
        _require_pyarrow(name)
    return format


def compression_of(name: str) -> str | None:
    """Return the ending of a compressed file's name, such as `.gz`. None if the name has no such ending."""
    ending = PurePosixPath(name.lower()).suffix
    return ending if ending in _COMPRESSIONS else None


def _require_pyarrow(name: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InvalidInput(
            f"Writing {name} needs pyarrow, which is not installed.", "Install it: pip install 'qwen-batch[tables]'"
        ) from None
