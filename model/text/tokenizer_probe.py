"""The helper process that tries out a tokenizer's normalizer and pre-tokenizer.

It reads both as JSON and writes what is wrong with them, or nothing. The kernel ends it when that takes long. The
library itself ends it, by an abort, when the memory is not enough.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import tokenizers

CPU_SECONDS = 2
PATIENCE_SECONDS = 60.0  # real time, for a machine that is busy
MEMORY_BYTES = 1 << 30  # of address space, most of which the library's threads reserve and never use
MAX_GROWTH = 100  # times that a normalizer may lengthen a text; NFKD makes 18 characters of one
REPEATS = 40


def main() -> None:
    """Read, try, say."""
    parts = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.stdout.write(_fault(parts))


def _fault(parts: dict[str, Any]) -> str:
    """What is wrong, as the end of a sentence; empty if nothing is."""
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


def _growth(normalizer: Any) -> int:  # noqa: ANN401 - whatever JSON holds
    """How often a text's length may be multiplied by its replacements."""
    if not isinstance(normalizer, dict):
        return 1
    growth = 1 + len(str(normalizer.get("content", normalizer.get("prepend", ""))))
    for step in normalizer.get("normalizers") or ():
        growth = min(growth * _growth(step), MAX_GROWTH + 1)
    return growth


def _texts() -> list[str]:
    """Texts on which a pattern that backtracks takes long: runs of one character or word, ended by another one."""
    printable = [chr(code) for code in (*range(32, 127), 0xE9, 0x3042, 0x4E00, 0x1F600)]
    runs = [
        f"{unit * REPEATS}{end}" for unit in (*printable, "a ", "ab", "A1", "\n", "\t") for end in ("!", "\x00", "é")
    ]
    return ["".join(printable), *runs]


if __name__ == "__main__":
    main()
