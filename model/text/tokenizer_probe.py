"""The helper process that tests a tokenizer's normalizer and pre-tokenizer.

It reads both as JSON from stdin and writes any fault to stdout. If the test takes too much CPU time, the kernel ends
the process. If it needs too much memory, the library aborts the process.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import tokenizers

CPU_SECONDS = 2
PATIENCE_SECONDS = 60.0  # limit of real time, long enough for a busy machine
MEMORY_BYTES = 1 << 30  # address space, most of which the library's threads reserve and never use
MAX_GROWTH = 100  # maximum factor by which a normalizer may lengthen a text; NFKD turns one character into up to 18
REPEATS = 40


def main() -> None:
    """Read the components, test them, and write any fault."""
    parts = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.stdout.write(_fault(parts))


def _fault(parts: dict[str, Any]) -> str:
    """Return the fault as the end of a sentence, or an empty text if there is none."""
    if _growth(parts["normalizer"]) > MAX_GROWTH:
        return f"can make a text more than {MAX_GROWTH} times longer"
    model = {"type": "BPE", "vocab": {}, "merges": []}
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, **parts}))
        for text in _texts():
            normalised = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
            if len(normalised) > MAX_GROWTH * len(text):
                return f"makes a text more than {MAX_GROWTH} times longer"
            if backend.pre_tokenizer is not None:
                backend.pre_tokenizer.pre_tokenize_str(normalised)
    except BaseException as error:  # noqa: BLE001 - a panic of the library is no `Exception`
        return f"fails: {str(error)[:200]}"
    return ""


def _growth(normalizer: Any) -> int:  # noqa: ANN401 - any JSON value
    """Return an upper bound of the factor by which a normalizer's replacements lengthen a text."""
    if not isinstance(normalizer, dict):
        return 1
    growth = 1 + len(str(normalizer.get("content", normalizer.get("prepend", ""))))
    for step in normalizer.get("normalizers") or ():
        growth = min(growth * _growth(step), MAX_GROWTH + 1)
    return growth


def _texts() -> list[str]:
    """Return texts that are slow for a backtracking pattern: runs of one unit, followed by another character."""
    printable = [chr(code) for code in (*range(32, 127), 0xE9, 0x3042, 0x4E00, 0x1F600)]
    runs = [
        f"{unit * REPEATS}{end}" for unit in (*printable, "a ", "ab", "A1", "\n", "\t") for end in ("!", "\x00", "é")
    ]
    return ["".join(printable), *runs]


if __name__ == "__main__":
    main()
