"""What a line says goes before what its job says, setting by setting."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobs.records.sampling import NOTHING_SAID, SamplingSettings

# One value of each setting that no default has, and another one that is false where Python asks for the truth of it.
SETTINGS: dict[str, tuple[Any, Any]] = {
    "max_tokens": (5, 1),
    "min_tokens": (3, 0),
    "temperature": (0.5, 0.0),
    "top_k": (7, 0),
    "top_p": (0.5, 0.1),
    "min_p": (0.5, 0.0),
    "presence_penalty": (0.5, 0.0),
    "frequency_penalty": (0.5, 0.0),
    "repetition_penalty": (1.5, 0.1),
    "seed": (9, 0),
    "stop": (("end",), ()),
    "stop_token_ids": ((4,), ()),
    "ignore_eos": (True, False),
    "thinking_token_budget": (100, 0),
    "include_stop_str_in_output": (True, False),
    "skip_special_tokens": (True, False),
    "logit_bias": (((5, 1.0),), ()),
    "allowed_token_ids": ((5, 6), ()),
    "bad_words": (("bad",), ()),
}
ALL_SAID = SamplingSettings(**{name: value for name, (value, _) in SETTINGS.items()})


def test_no_setting_is_missing_here() -> None:
    assert set(SETTINGS) == set(SamplingSettings.__struct_fields__)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_said_replaces_the_default_and_all_others_keep_theirs(name: str) -> None:
    _, falsy = SETTINGS[name]
    expected = msgspec.structs.replace(ALL_SAID, **{name: falsy})
    assert SamplingSettings(**{name: falsy}).over(ALL_SAID) == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_not_said_keeps_its_default(name: str) -> None:
    value, _ = SETTINGS[name]
    default = SamplingSettings(**{name: value})
    assert NOTHING_SAID.over(default) == default
    rest = msgspec.structs.replace(ALL_SAID, **{name: None})
    assert rest.over(default) == ALL_SAID


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_has_no_default_is_what_was_said(name: str) -> None:
    said = SamplingSettings(**{name: SETTINGS[name][0]})
    assert said.over(NOTHING_SAID) == said
