"""Options with a range of numbers: every command refuses other numbers in the same words."""

from __future__ import annotations

import click
import pytest

from cli.main import group
from cli.options.options import RealNumber, WholeNumber


@pytest.mark.parametrize(
    ("kind", "said", "error"),
    [
        (WholeNumber(0, 1_000_000), "-1", "-1 is out of range; it must be from 0 to 1,000,000."),
        (WholeNumber(0, 1_000_000), "2000000", "2,000,000 is out of range; it must be from 0 to 1,000,000."),
        (WholeNumber(1), "0", "0 is out of range; it must be at least 1."),
        (RealNumber(0, 1, min_open=True), "0", "0.0 is out of range; it must be above 0 and at most 1."),
        (RealNumber(0, 10, min_open=True), "nan", "nan is out of range; it must be above 0 and at most 10."),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range_in_words(
    kind: WholeNumber | RealNumber, said: str, error: str
) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        kind.convert(said, None, None)
    assert refusal.value.message == error


@pytest.mark.parametrize("said", ["0", "7", "10"])
def test_both_ends_of_a_range_belong_to_it(said: str) -> None:
    assert WholeNumber(0, 10).convert(said, None, None) == int(said)
    assert RealNumber(0, 10).convert(said, None, None) == float(said)


def test_no_option_shows_the_range_in_the_words_of_click() -> None:
    context = click.Context(group)
    ranges = {
        f"{name} {param.opts[-1]}": param.type
        for name in group.list_commands(context)
        if (command := group.get_command(context, name)) is not None
        for param in command.params
        if isinstance(param.type, click.IntRange | click.FloatRange)
    }
    assert len(ranges) > 20
    assert [name for name, kind in ranges.items() if not isinstance(kind, WholeNumber | RealNumber)] == []
