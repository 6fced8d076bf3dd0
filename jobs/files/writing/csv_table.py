"""Write rows as CSV or TSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from jobs.files.writing.destination import Output

_NOTHING = msgspec.Raw(b"null")

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def write_csv(rows: Iterable[bytes], names: Sequence[str], delimiter: str, output: Output) -> None:
    """Write a header and the rows, in UTF-8.

    A text is a cell as it is, and null is an empty cell. Numbers, lists and objects are JSON, byte for byte as in the
    row. Cells with a delimiter, a quote or a line break are in quotes.

    Args:
        rows: JSON objects.
        names: Names of the columns.
        delimiter: Character between the cells.
        output: Gets the bytes.
    """
    special = re.compile(f'[{re.escape(delimiter)}"\r\n]').search

    def line(cells: Iterable[str]) -> bytes:
        quoted = ('"' + cell.replace('"', '""') + '"' if special(cell) else cell for cell in cells)
        return (delimiter.join(quoted) + "\n").encode()

    output.write(line(names))
    for row in rows:
        values = _decode(row)
        output.write(line(_cell(bytes(values.get(name, _NOTHING))) for name in names))


def _cell(value: bytes) -> str:
    if value.startswith(b'"'):
        return _decode_text(value)
    return "" if value == b"null" else value.decode()
