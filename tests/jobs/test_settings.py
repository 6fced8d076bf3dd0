"""What the environment may say."""

from __future__ import annotations

import pytest

from cli.options.options import settings_with
from jobs.errors import InvalidInput
from jobs.settings import PREFIX, Settings


def test_without_variables_every_setting_has_its_default() -> None:
    assert Settings.from_env({"PATH": "/bin"}) == Settings()


def test_each_variable_sets_its_field_and_an_empty_one_sets_nothing() -> None:
    environ = {"MODEL": "my/model", "THREADS": "3", "COMPILE": "false", "FLUSH_SECONDS": "0.25", "DTYPE": ""}
    settings = Settings.from_env({PREFIX + name: value for name, value in environ.items()})
    assert settings == Settings(model="my/model", threads=3, compile=False, flush_seconds=0.25)


def test_an_option_wins_over_its_variable_also_where_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "COMPILE", "true")
    monkeypatch.setenv(PREFIX + "THREADS", "3")
    settings = settings_with(compile=False, threads=None)
    assert (settings.compile, settings.threads) == (False, 3)


def test_a_child_process_gets_the_same_settings() -> None:
    settings = Settings(redis_url="unix:///s", compile=False, threads=2, lease_ttl_seconds=1.5, metrics_port=0)
    assert Settings.from_env(settings.as_env()) == settings


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("THREADS", "many", "a whole number"),
        ("THREADS", "1.5", "a whole number"),
        ("COMPILE", "maybe", "true or false"),
        ("LEASE_TTL_SECONDS", "soon", "a number of seconds above 0"),
        ("LEASE_TTL_SECONDS", "-1", "a number of seconds above 0"),
        ("SWEEP_SECONDS", "nan", "at most 86,400"),
        ("FLUSH_SECONDS", "inf", "at most 86,400"),
        ("FLUSH_SECONDS", "0", "above 0"),
        ("ONLINE_SHARE", "1.5", "a number above 0 and at most 1"),
        ("ONLINE_SHARE", "0", "a number above 0 and at most 1"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_what_it_may_be(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Settings.from_env({PREFIX + name: value})
    assert error.value.message.startswith(f"{PREFIX}{name} is {value!r}; it must be ")
    assert allowed in error.value.message


def test_a_variable_that_is_no_setting_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match=f"{PREFIX}MODLE") as error:
        Settings.from_env({f"{PREFIX}MODLE": "demo"})
    assert f"{PREFIX}MODEL" in error.value.hint
