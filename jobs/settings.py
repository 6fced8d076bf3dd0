"""The only reader of the environment: every `QWEN_BATCH_*` name is a field here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jobs.errors import InvalidInput
from jobs.harmless import has_credentials, unicode_text

PREFIX = "QWEN_BATCH_"

_KINDS: dict[str, tuple[type, str]] = {  # a field's annotation -> what its text is read as, and that in words
    "str": (str, "text"),
    "str | None": (str, "text"),
    "bool": (bool, "true or false"),
    "int | None": (int, "a whole number"),
    "float": (float, "a number of seconds above 0 and at most 86,400"),
}
_LONGEST_SECONDS = 86_400


class Settings(msgspec.Struct, frozen=True):
    """Defaults that the environment may set; a command's option wins over it.

    `QWEN_BATCH_REDIS_URL` sets `redis_url`, and so on. None means "decide on this machine".
    """

    redis_url: str = "redis://localhost:6379/0"
    model: str = "demo"  # a local folder, a hub id (`Qwen/Qwen3-0.6B`, `…@revision`) or `demo`
    served_model_name: str | None = None  # the queue's name; None: the hub id, or the folder's name
    device: str = "auto"  # auto, cpu, cuda, mps
    dtype: str = "auto"  # auto, float32, bfloat16
    quantize: str = "none"  # none, int8
    compile: bool = True
    max_num_seqs: int | None = None  # sequences in a batch
    max_batched_tokens: int | None = None  # prompt tokens of one prefill step
    max_model_len: int | None = None  # tokens, prompt and completion together
    kv_cache_memory: str | None = None  # bytes, or with a unit: `4GiB`
    threads: int | None = None  # CPU threads of the model
    lease_ttl_seconds: float = 3.0  # a worker that is silent for so long has lost its shards
    sweep_seconds: float = 0.5  # how often a worker looks for shards that nobody holds
    flush_seconds: float = 1.0  # finished lines wait at most so long before they are stored
    state_dir: str | None = None  # of `run`; None: $XDG_STATE_HOME/qwen-batch
    drain: bool = False  # a worker that is told to stop finishes its shards first
    log_level: str = "info"  # debug, info, warning, error
    log_format: str = "text"  # text, json
    metrics_port: int | None = None  # where a worker shows its metrics; None: nowhere
    ready_fd: int | None = None  # an open file descriptor: a worker writes a newline to it once its model is loaded

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every `QWEN_BATCH_*` variable; an empty one counts as not set.

        Raises:
            InvalidInput: A variable of that prefix is not a setting, or has a value of the wrong kind.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and value
        }
        unknown = sorted(set(given) - set(cls.__struct_fields__))
        if unknown:
            names = ", ".join(PREFIX + name.upper() for name in unknown)
            raise InvalidInput(f"Unknown setting in the environment: {names}.", f"Known: {', '.join(cls.env_names())}.")
        return cls(**{name: _read(name, text, cls.__annotations__[name]) for name, text in given.items()})

    @staticmethod
    def server_is_named(environ: Mapping[str, str] = os.environ) -> bool:
        """Whether the environment names a Redis server, so that `run` need not bring its own."""
        return bool(environ.get(f"{PREFIX}REDIS_URL"))

    def as_env(self) -> dict[str, str]:
        """The variables from which `from_env` makes these settings again, for a child process."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {PREFIX + name.upper(): str(value) for name, value in values.items() if value is not None}

    @classmethod
    def env_names(cls) -> list[str]:
        """The names of all variables, in the order of the fields."""
        return [PREFIX + name.upper() for name in cls.__struct_fields__]

    def state_folder(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Where `run` keeps its server's data."""
        if self.state_dir:
            return Path(self.state_dir).expanduser()
        base = environ.get("XDG_STATE_HOME")
        return (Path(base) if base else Path.home() / ".local" / "state") / "qwen-batch"


def _read(name: str, text: str, annotation: str) -> Any:  # noqa: ANN401 - the field's own kind
    """A variable's text as a value of its field. Raises `InvalidInput`."""
    if name != "redis_url" and has_credentials(text):
        raise InvalidInput(f"{PREFIX}{name.upper()} holds a URL with a password.", f"{PREFIX}REDIS_URL is for that.")
    if name != "state_dir" and unicode_text(text) != text:
        raise InvalidInput(f"{PREFIX}{name.upper()} is not UTF-8.")
    kind, in_words = _KINDS[annotation]
    refusal = InvalidInput(f"{PREFIX}{name.upper()} is {text!r}; it must be {in_words}.")
    try:
        value: Any = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise refusal from None
    if kind is float and not 0 < value <= _LONGEST_SECONDS:
        raise refusal
    return value
