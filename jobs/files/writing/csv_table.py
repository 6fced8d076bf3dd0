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

    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if special(cell) else cell

    output.write(_line(map(quoted, names), delimiter))
    for row in rows:
        values = _decode(row)
        cells = []
        for name in names:
            value = bytes(values.get(name, _NOTHING))
            if value.startswith(b'"'):
                cells.append(quoted(_decode_text(value)))
            elif value.startswith((b"[", b"{")):
                cells.append(quoted(value.decode()))
            else:
                cells.append("" if value == b"null" else value.decode())
        output.write(_line(cells, delimiter))


def _line(cells: Iterable[str], delimiter: str) -> bytes:
    return (delimiter.join(cells) + "\n").encode()
