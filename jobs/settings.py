"""Settings from the environment: each field is a variable `QWEN_BATCH_*`.

No other module reads them, except `model.kernels.tiers`: a process loads one set of kernels for all its models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jobs.errors import InvalidInput
from jobs.harmless import has_credentials, unicode_text

PREFIX = "QWEN_BATCH_"

_KINDS: dict[str, tuple[type, str]] = {  # a field's annotation -> the type of its value, and its name in messages
    "str": (str, "text"),
    "str | None": (str, "text"),
    "bool": (bool, "true or false"),
    "int | None": (int, "a whole number"),
    "float": (float, "a number of seconds above 0 and at most 86,400"),
}
_LONGEST_SECONDS = 86_400
_SHARES = ("online_share",)  # numbers that are no seconds


class Settings(msgspec.Struct, frozen=True):
    """Defaults that the environment may set. A command's option overrides them.

    Each variable sets the field of its name: `QWEN_BATCH_REDIS_URL` sets `redis_url`. None means that the worker
    chooses a value that suits its machine, unless the field's comment gives another meaning.
    """

    redis_url: str = "redis://localhost:6379/0"
    model: str = "demo"  # a local folder, a hub id (`Qwen/Qwen3-0.6B`, `…@revision`) or `demo`
    served_model_name: str | None = None  # the queue's name; None for the hub id or the folder's name
    device: str = "auto"  # auto, cpu, cuda, mps
    dtype: str = "auto"  # auto, float32, bfloat16
    quantize: str = "none"  # none, int8, int4
    compile: bool = True
    prefix_caching: bool = True  # prompts that begin alike share the cache of their beginning
    speculate: bool = True  # on a CPU, guess next tokens where that saves time
    max_num_seqs: int | None = None  # max sequences per batch
    max_batched_tokens: int | None = None  # max prompt tokens per prefill step
    max_model_len: int | None = None  # max tokens of prompt and completion together
    kv_cache_memory: str | None = None  # a number of bytes, or a size with a unit such as `4GiB`
    threads: int | None = None  # CPU threads of the model
    cpu_tier: str | None = None  # a tier of `model.kernels.tiers`; None for the highest that the processor can run
    lease_ttl_seconds: float = 3.0  # a worker loses a lease that it has not renewed for this time
    sweep_seconds: float = 0.5  # time between two searches of a worker for shards that nobody holds
    flush_seconds: float = 1.0  # max time before a finished line is stored
    state_dir: str | None = None  # folder for the data of `run`; None for $XDG_STATE_HOME/qwen-batch
    drain: bool = False  # True: a worker that gets SIGTERM finishes its shards before it stops
    online: bool = True  # serve interactive requests beside the lines of batches
    online_share: float = 0.75  # max share of a batch that interactive requests take
    stream_interval: float = 0.02  # min seconds between two messages of a worker to one HTTP process
    log_level: str = "info"  # debug, info, warning, error
    log_format: str = "text"  # text, json
    metrics_port: int | None = None  # port of a worker's metrics; None for no metrics
    api_key: str | None = None  # an API key of `serve`, with every right; None for no such key
    ready_fd: int | None = (
        None  # open file descriptor; once its model is loaded, the worker writes a newline and its notices to it
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every `QWEN_BATCH_*` variable. An empty variable counts as not set.

        Raises:
            InvalidInput: A variable with this prefix is not a setting, or its value is not valid.
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

    def with_values(self, values: Mapping[str, object]) -> Settings:
        """Return these settings with other values of some fields.

        Raises:
            InvalidInput: A value is not of its field's type.
        """
        for name, value in values.items():
            kind, in_words = _KINDS[self.__annotations__[name]]
            if type(value) is not kind:
                raise InvalidInput(f"`{name}` is {value!r}; it must be {in_words}.")
        return msgspec.structs.replace(self, **values)

    @staticmethod
    def server_is_named(environ: Mapping[str, str] = os.environ) -> bool:
        """Return whether the environment names a Redis server. If not, `run` starts its own."""
        return bool(environ.get(f"{PREFIX}REDIS_URL"))

    @staticmethod
    def model_is_named(environ: Mapping[str, str] = os.environ) -> bool:
        """Return whether the environment names a model. If not, the lines of a file may name it."""
        return any(environ.get(f"{PREFIX}{name}") for name in ("MODEL", "SERVED_MODEL_NAME"))

    def as_env(self) -> dict[str, str]:
        """Return these settings as environment variables for a child process, which reads them with `from_env`."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {PREFIX + name.upper(): str(value) for name, value in values.items() if value is not None}

    @classmethod
    def env_names(cls) -> list[str]:
        """Return the names of all variables, in the order of the fields."""
        return [PREFIX + name.upper() for name in cls.__struct_fields__]

    def state_folder(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return the folder in which `run` keeps its server's data."""
        if self.state_dir:
            return Path(self.state_dir).expanduser()
        base = environ.get("XDG_STATE_HOME")
        return (Path(base) if base else Path.home() / ".local" / "state") / "qwen-batch"


def _read(name: str, text: str, annotation: str) -> Any:  # noqa: ANN401 - the field's own kind
    """Convert a variable's text to a value of its field. Raises `InvalidInput`."""
    if name != "redis_url" and has_credentials(text):
        raise InvalidInput(
            f"{PREFIX}{name.upper()} holds a URL with a password.", f"Put the URL into {PREFIX}REDIS_URL."
        )
    if name != "state_dir" and unicode_text(text) != text:
        raise InvalidInput(f"{PREFIX}{name.upper()} is not UTF-8.")
    kind, in_words = _KINDS[annotation]
    longest = _LONGEST_SECONDS
    if name in _SHARES:
        in_words, longest = "a number above 0 and at most 1", 1
    refusal = InvalidInput(f"{PREFIX}{name.upper()} is {text!r}; it must be {in_words}.")
    try:
        value: Any = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise refusal from None
    if kind is float and not 0 < value <= longest:
        raise refusal
    return value
