"""Read the file of a JSON schema, which becomes the constraint of a whole job."""

from __future__ import annotations

from pathlib import Path

from jobs.constraints.requested import schema_or_format
from jobs.errors import InvalidInput
from jobs.files.formats.json_line import LineInvalid, decode_object
from jobs.records.constraint import Constraint

_MAX_FILE_BYTES = 16_000_000


def read_schema_file(path: str, named_by: str) -> Constraint:
    """Read a file that holds a JSON schema, or a `response_format` or its `json_schema` with a schema inside.

    Args:
        path: The file's path.
        named_by: The option or the argument that names the file, for errors.

    Raises:
        InvalidInput: The file cannot be read, or `path` is a schema and no path.
        LineInvalid: The file holds no schema. The schema itself is not checked here.
    """
    if path.lstrip().startswith("{"):
        raise InvalidInput(
            f"{named_by} needs the name of a file, not the schema itself.", "Write the schema to a file."
        )
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidInput(f"{named_by} {path} cannot be read: {error.strerror}.") from error
    try:
        said = decode_object(content)
    except LineInvalid as error:
        raise LineInvalid(str(error).replace("the line", "the file")) from error
    return schema_or_format(said)
