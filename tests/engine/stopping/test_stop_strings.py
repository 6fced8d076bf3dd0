from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.stopping.stop_strings import StopStringFinder
from testing.models.fake_runner import ByteStream

letters = st.text(alphabet="ab€", max_size=12)


@given(text=letters, stop=st.lists(st.text(alphabet="ab€", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_first_stop_string_to_be_complete_cuts_whatever_the_tokens(text: str, stop: list[str]) -> None:
    finder = StopStringFinder(tuple(stop), ByteStream())
    cuts = [cut for byte in text.encode() if (cut := finder.push(byte, searching=True)) is not None]
    ends = {end: start for end in range(len(text), 0, -1) for start in _starts(text, end, stop)}
    expected = text[: ends[min(ends)]] if ends else None
    assert (cuts[0] if cuts else None) == expected


def _starts(text: str, end: int, stop: list[str]) -> list[int]:
    """Where stop strings begin that end at `end`; the earliest last, so that it wins in a dict."""
    return sorted((end - len(each) for each in stop if text[:end].endswith(each)), reverse=True)
