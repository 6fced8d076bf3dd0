"""One pass over the lines of one or several files, which become the lines of one job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from jobs.files.file_places import FilePlaces
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.reading.row import TemplatedRow
from jobs.files.reading.row_reader import RowReader
from jobs.records.prompt import Prompt


class FilePass:
    """Decodes the lines of files. Iterate over it once.

    The numbers of lines run on over the files: if the first file ends with line 10, the second begins with number 11.

    Args:
        readers: Readers of the files, at least one.
        rules: What the lines are checked against.
        limit: Number of lines after which the pass ends. None to read all.
    """

    def __init__(self, readers: Sequence[RowReader], rules: LineRules, limit: int | None = None) -> None:
        self.places = FilePlaces() if len(readers) > 1 else None
        self.decoder = LineDecoder(rules, self.places)
        self.digests: list[str] = []  # one hash per file that has been read; it includes no line beyond the limit
        self.file = ""  # name of the file that is being read
        self._readers = readers
        self._limit = limit

    def __iter__(self) -> Iterator[tuple[int, Prompt]]:
        """Iterate over (number, prompt). With several files, each prompt names its file in `source`.

        Raises:
            InvalidInput: A file cannot be read.
        """
        index = number = 0
        places, decoder = self.places, self.decoder
        decode = decoder.decode
        for reader in self._readers:
            start, self.file = number, reader.name
            if places is not None:
                places.begin(reader.name, start)
            with reader.rows(None if self._limit is None else self._limit - index) as rows:
                for in_file, row in rows:
                    number = start + in_file
                    if isinstance(row, bytes):
                        prompt = decode(row, index, number)
                    elif isinstance(row, TemplatedRow):
                        prompt = decoder.decode_templated(row, index, number)
                        for name in row.without_value:
                            decoder.notes.count(decoder.notes.without_value, name)
                    else:
                        prompt = decoder.refused(index, number, row.reason)
                    index += 1
                    yield number, prompt if places is None else _with_source(prompt, reader.name, in_file)
            self.digests.append(rows.digest)

    @property
    def digest(self) -> str:
        """Hash of all files that have been read, in hexadecimal. With several files, it includes their names."""
        if self.places is None:
            return "".join(self.digests)
        facts = [(reader.name, digest) for reader, digest in zip(self._readers, self.digests, strict=True)]
        return hashlib.blake2b(msgspec.json.encode(facts), digest_size=16).hexdigest()


def _with_source(prompt: Prompt, source: str, number: int) -> Prompt:
    line = None if prompt.line is None else number
    return msgspec.structs.replace(prompt, source=source, line=line)
