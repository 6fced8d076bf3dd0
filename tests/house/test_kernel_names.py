"""The C++ sources are compiled together (`model/kernels/build.py`), so what one keeps to itself the others may see."""

from __future__ import annotations

import re

from model.kernels.build import SOURCES

PRIVATE = re.compile(r"^namespace \{$(.*?)^\}  // namespace$", re.DOTALL | re.MULTILINE)
# Constants, variables, functions, types and their aliases that begin a line; what lies inside them is indented.
DECLARATION = re.compile(
    r"^(?!using namespace|return|namespace|template|#)[A-Za-z][\w:<>,*& ]*?[ *&](\w+)(?: final)? ?(?::(?!:)|[(=\[{;])"
)


def declared(text: str) -> set[str]:
    return {found[1] for line in text.splitlines() if (found := DECLARATION.match(line))}


def test_declarations_are_seen_as_such() -> None:
    lines = [
        "constexpr int64_t A = 1;",
        "class B final : public C {",
        "  int d;",
        "void e(int f) {",
        "Kind<bool> g{true};",
        "using H = int;",
    ]
    assert declared("\n".join(lines)) == {"A", "B", "e", "g", "H"}


def test_no_two_cpp_files_use_a_name_for_two_things() -> None:
    texts = {path: path.read_text() for path in [*SOURCES.glob("*/*.cpp"), *SOURCES.glob("*/*.h")]}
    clashes = [
        (source.name, other.name, both)
        for source, text in texts.items()
        for other in texts
        if other != source
        if (both := declared("\n".join(PRIVATE.findall(text))) & declared(texts[other]))
    ]
    assert clashes == []
