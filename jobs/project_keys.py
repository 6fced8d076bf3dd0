"""Names of the keys of uploaded files and batches. All keys of one project share a hash tag, as those of a job do.

The project is part of every name, so an object of another project cannot be read by mistake.

| key | type | holds |
|---|---|---|
| `qwen-batch:{project:P}:file:ID` | string | the record of a file (JSON) |
| `qwen-batch:{project:P}:files` | sorted set | ids of all files, score 0: ids sort by time |
| `qwen-batch:{project:P}:files:PURPOSE` | sorted set | ids of the files with this purpose, score 0 |
| `qwen-batch:{project:P}:bytes` | string | number of bytes of all files |
| `qwen-batch:{project:P}:batch:ID` | string | the record of a batch (JSON) |
| `qwen-batch:{project:P}:batches` | sorted set | ids of all batches, score 0 |
| `qwen-batch:{project:P}:unfinished` | hash | unfinished batch -> the input file that it still needs, or nothing |
| `qwen-batch:{project:P}:reserved` | hash | unfinished batch -> number of lines that its import has reserved |
| `qwen-batch:{project:P}:repeat:TOKEN` | string | digest of a request, and the object that it made; expires |
| `qwen-batch:{clerk}:due` | sorted set | `P/ID` of what the clerk must look at, scored by time (seconds) |
| `qwen-batch:{clerk}:imports` | sorted set | `P/ID` of batches that wait for their import, scored by creation |
| `qwen-batch:{clerk}:finishes` | sorted set | `P/ID` of batches whose end waits, scored by creation |
| `qwen-batch:file-store` | string | id of the file store that holds the bytes of all files |
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.keys import PREFIX

DUE = f"{PREFIX}{{clerk}}:due"
IMPORTS = f"{PREFIX}{{clerk}}:imports"
FINISHES = f"{PREFIX}{{clerk}}:finishes"
FILE_STORE = f"{PREFIX}file-store"


@dataclass(frozen=True)
class ProjectKeys:
    """Names of one project's keys. The table above says what each holds."""

    project: str

    def _key(self, name: str) -> str:
        return f"{PREFIX}{{project:{self.project}}}:{name}"

    @property
    def files(self) -> str:
        """Key of the sorted set of all files."""
        return self._key("files")

    @property
    def bytes(self) -> str:
        """Key of the number of bytes of all files."""
        return self._key("bytes")

    @property
    def batches(self) -> str:
        """Key of the sorted set of all batches."""
        return self._key("batches")

    @property
    def unfinished(self) -> str:
        """Key of the hash of unfinished batches."""
        return self._key("unfinished")

    @property
    def reserved(self) -> str:
        """Key of the hash of lines that unfinished batches have reserved."""
        return self._key("reserved")

    def files_of(self, purpose: str) -> str:
        """Return the key of the sorted set of files with a purpose."""
        return self._key(f"files:{purpose}")

    def file(self, file_id: str) -> str:
        """Return the key of a file's record."""
        return self._key(f"file:{file_id}")

    def batch(self, batch_id: str) -> str:
        """Return the key of a batch's record."""
        return self._key(f"batch:{batch_id}")

    def repeat(self, token: str) -> str:
        """Return the key under which a request remembers the object that it made."""
        return self._key(f"repeat:{token}")
