"""A large file there and back, whole, in ranges, and over a download that breaks.

python -m tools.clients.programs.large_file ADDRESS FOLDER
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from openai import OpenAI

from tools.clients.programs.batches import chat_line, client_of
from tools.clients.programs.report import Report, Wrong, expect

LINES, MIN_BYTES = 50_000, 200_000_000
RANGE_BYTES = 7_000_000
CUT = 0.6  # of the file
WRONG_ETAG = f'"{"0" * 64}"'


def write_file(path: Path) -> str:
    """Write the file, of which no two parts are alike. Returns its SHA-256."""
    with path.open("wb") as file:
        for number in range(LINES):
            file.write(f"{chat_line(f'r{number}', f'{number:05} ' * 680)}\n".encode())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Transfer:
    """The file on both sides.

    Args:
        client: OpenAI's client.
        path: The file on this side.
    """

    def __init__(self, client: OpenAI, path: Path) -> None:
        self._client = client
        self._path = path
        self._hash = write_file(path)
        self._size = path.stat().st_size
        self._etag = ""
        self.file_id = ""

    def upload(self) -> str:
        """Upload the file. Returns the figures."""
        expect(f"at least {MIN_BYTES:,} bytes", self._size >= MIN_BYTES, True)
        with self._path.open("rb") as file:
            stored = self._client.files.create(file=file, purpose="batch")
        expect("the size of the stored file", stored.bytes, self._size)
        self.file_id = stored.id
        return f"{LINES:,} lines, {self._size:,} bytes"

    def whole(self) -> str:
        """Download all at once. Returns the figures."""
        with self._download(200) as answer:
            self._etag = answer.headers["etag"]
            self._expect_hash(answer.iter_bytes())
        return "the same hash"

    def ranges(self) -> str:
        """Download range by range. Returns the figures."""
        starts = range(0, self._size, RANGE_BYTES)
        self._expect_hash(self._part(start) for start in starts)
        return f"{len(starts)} ranges, the same hash"

    def broken(self) -> str:
        """Cut a download, and go on if the file is still the same. Returns the figures."""
        kept = self._beginning()
        with self._download(206, Range=f"bytes={len(kept)}-", **{"If-Range": self._etag}) as answer:
            self._expect_hash(iter([kept, *answer.iter_bytes()]))
        return f"cut after {len(kept):,} bytes, the same hash"

    def changed(self) -> str:
        """Go on with a download of another file. Returns the figures."""
        with self._download(200, Range="bytes=1000-", **{"If-Range": WRONG_ETAG}) as answer:
            self._expect_hash(answer.iter_bytes())
        return "the whole file, the same hash"

    def curl(self, address: str) -> str:
        """Go on with a broken download as curl does. Returns the figures."""
        path, kept = self._path.with_name("part.jsonl"), self._beginning()
        path.write_bytes(kept)
        url = f"{address}/v1/files/{self.file_id}/content"
        subprocess.run(["curl", "-sSf", "-C", "-", "-o", str(path), url], check=True)
        with path.open("rb") as file:
            self._expect_hash(iter(lambda: file.read(2**20), b""))
        return f"cut after {len(kept):,} bytes, the same hash"

    def delete(self) -> str:
        """Delete the file. Returns the figures."""
        expect("deleted", self._client.files.delete(self.file_id).deleted, True)
        return "gone"

    @contextmanager
    def _download(self, status: int, **headers: str) -> Iterator[Any]:
        """Yield an answer whose body has not been read. The end of the block closes its connection."""
        with self._client.files.with_streaming_response.content(self.file_id, extra_headers=headers) as answer:
            expect("the status", answer.status_code, status)
            yield answer

    def _part(self, start: int) -> bytes:
        end = min(start + RANGE_BYTES, self._size) - 1
        with self._download(206, Range=f"bytes={start}-{end}") as answer:
            expect("content-range", answer.headers["content-range"], f"bytes {start}-{end}/{self._size}")
            return b"".join(answer.iter_bytes())

    def _beginning(self) -> bytes:
        kept, wanted = bytearray(), int(CUT * self._size)
        with self._download(200) as answer:
            for piece in answer.iter_bytes():
                kept += piece
                if len(kept) >= wanted:
                    return bytes(kept[:wanted])
        raise Wrong(f"the download ended after {len(kept):,} bytes")

    def _expect_hash(self, pieces: Iterator[bytes]) -> None:
        found = hashlib.sha256()
        for piece in pieces:
            found.update(piece)
        expect("the hash", found.hexdigest(), self._hash)


def main() -> None:
    """Run all."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    transfer = Transfer(client_of(address), folder / "large.jsonl")
    report = Report(f"openai {openai.__version__}")
    report.check("upload of a large file", transfer.upload)
    report.check("download of the whole file", transfer.whole)
    report.check("download in ranges of 7 MB", transfer.ranges)
    report.check("a download that breaks and goes on", transfer.broken)
    report.check("If-Range with a wrong ETag", transfer.changed)
    report.check("a download that breaks and goes on with curl", lambda: transfer.curl(address))
    report.check("deletion of the large file", transfer.delete)
    report.exit()


if __name__ == "__main__":
    main()
