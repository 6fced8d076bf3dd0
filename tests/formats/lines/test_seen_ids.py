"""An id that comes again is found, with the line that has it, whether that line names it or is numbered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.files.formats.seen_ids import SeenIds

# Each line has its own id, or None. Few ids, so that many come again, and some that only look like numbers.
LINES = st.lists(
    st.none() | st.sampled_from(["a", "1", "2", "3", "5", "8", "13", "01", "２", "", "-1", "1.0"]), max_size=40
)


@given(LINES, st.integers(0, 3))
def test_an_id_that_comes_again_is_found(lines: list[str | None], offset: int) -> None:
    seen, first = SeenIds(), dict[str, int]()
    for line, own in enumerate(lines, 1):
        id = str(line + offset) if own is None else own
        found = seen.add_number(line + offset, line) if own is None else seen.copy().add(own, line)
        assert found == first.get(id)
        if own is not None:
            assert seen.add(own, line) == found
        first.setdefault(id, line)


def test_numbered_lines_with_others_between_them_are_found_in_a_large_file() -> None:
    seen = SeenIds()
    for line in range(1, 10_001):
        if line % 3:
            assert seen.add_number(line, line) is None
    assert [seen.add(str(line), 20_000 + line) for line in range(1, 10_001)] == [
        line if line % 3 else None for line in range(1, 10_001)
    ]
    assert seen.add("9999", 30_001) == 29_999
