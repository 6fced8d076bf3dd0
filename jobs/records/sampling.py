"""Sampling settings, with the names of vLLM and the OpenAI API.

`SamplingSettings` is partial (None means "not set") and is sent between processes. `SamplingParams` is complete; the
engine uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec


class FinishReason(StrEnum):
    """Reason why a completion ended."""

    STOP = "stop"  # an eos token, a stop token or a stop string
    TOOL_CALLS = "tool_calls"  # as `stop`, in a completion that calls a tool
    LENGTH = "length"  # `max_tokens` or the end of the model's context was reached


@dataclass(frozen=True)
class Range:
    """Allowed range of a numeric setting. `inclusive_low` is True if `low` itself is allowed; `high` always is."""

    low: float
    high: float
    inclusive_low: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.inclusive_low else value > self.low
        return above and value <= self.high

    def __str__(self) -> str:
        if self.inclusive_low:
            return f"from {self.low:,} to {self.high:,}"
        return f"above {self.low:,} and at most {self.high:,}"


MAX_TOKENS_LIMIT = 1_000_000
MAX_STOP_STRINGS = 16
MAX_STOP_STRING_CHARS = 1_000

MAX_BIASES = 1_024
MAX_ALLOWED_TOKENS = 10_000
MAX_BAD_WORDS = 100
LOGIT_BIAS = Range(-100, 100)

RANGES: dict[str, Range] = {
    "max_tokens": Range(1, MAX_TOKENS_LIMIT),
    "min_tokens": Range(0, MAX_TOKENS_LIMIT),
    "temperature": Range(0, 10),
    "top_k": Range(0, 1_000_000),
    "top_p": Range(0, 1, inclusive_low=False),
    "min_p": Range(0, 1),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "repetition_penalty": Range(0, 10, inclusive_low=False),
    "seed": Range(0, 2**63 - 1),
    "thinking_token_budget": Range(0, MAX_TOKENS_LIMIT),
}


class SamplingSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Partial sampling settings from one source: a line, the options of `submit`, or generation_config.json.

    Raises:
        ValueError: A value is outside its range. The message names the setting, the value and the range. msgspec
            turns it into a ValidationError while decoding.
    """

    max_tokens: int | None = None  # max new tokens
    min_tokens: int | None = None  # min new tokens before an eos token or a stop may end the completion
    temperature: float | None = None  # 0 is greedy
    top_k: int | None = None  # 0 for all tokens
    top_p: float | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    stop_token_ids: tuple[int, ...] | None = None
    ignore_eos: bool | None = None
    thinking_token_budget: int | None = None  # max tokens of a thought before it is ended; None for no limit
    include_stop_str_in_output: bool | None = None  # True: the text keeps the stop string that ended it
    skip_special_tokens: bool | None = None  # False: the text shows special tokens
    logit_bias: tuple[tuple[int, float], ...] | None = None  # pairs of token id and what is added to its logit
    allowed_token_ids: tuple[int, ...] | None = None  # only these are sampled
    bad_words: tuple[str, ...] | None = None  # texts that are not completed

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ValueError(f"`{name}` is {value!r}; it must be {allowed}")
        _check_stop(self.stop or ())
        if any(token < 0 for token in self.stop_token_ids or ()):
            raise ValueError(f"`stop_token_ids` has a negative id: {min(self.stop_token_ids or ())}")
        if self.logit_bias and any(bias not in LOGIT_BIAS for _, bias in self.logit_bias):
            raise ValueError(f"a value of `logit_bias` is out of range; it must be {LOGIT_BIAS}")

    def over(self, defaults: SamplingSettings) -> SamplingSettings:
        """Return these settings, with the value of `defaults` for each field that is None here."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(defaults, **said) if said else defaults


def _check_stop(stop: tuple[str, ...]) -> None:
    if len(stop) > MAX_STOP_STRINGS:
        raise ValueError(f"`stop` has {len(stop)} strings; at most {MAX_STOP_STRINGS} are allowed")
    for text in stop:
        if not 0 < len(text) <= MAX_STOP_STRING_CHARS:
            raise ValueError(f"a `stop` string has {len(text)} characters; it must have 1 to {MAX_STOP_STRING_CHARS}")


# Shared by all lines without settings. As the field's default, it is neither stored nor checked again by readers.
NOTHING_SAID = SamplingSettings()


@dataclass(frozen=True)
class SamplingParams:
    """Complete sampling settings of one sequence. `RANGES` has the allowed range of each.

    The random number for the token at position p is a function of (seed, p) alone. So a completion does not depend on
    its neighbours, the batch or a restart.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    thinking_token_budget: int | None = None
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    logit_bias: tuple[tuple[int, float], ...] = ()
    allowed_token_ids: tuple[int, ...] = ()  # empty for all tokens

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ValueError(f"`{name}` is {value!r}; it must be {allowed}")
        _check_stop(self.stop)

    @property
    def greedy(self) -> bool:
        """True if each step takes the likeliest token, without a random number."""
        return self.temperature == 0

    @property
    def penalised(self) -> bool:
        """True if a penalty is set, so that earlier tokens change the logits."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1

    @property
    def changes_logits(self) -> bool:
        """True if a penalty, a bias or a set of allowed tokens changes the logits."""
        return self.penalised or bool(self.logit_bias) or bool(self.allowed_token_ids)

    @classmethod
    def resolve(cls, said: SamplingSettings, *, max_tokens: int, seed: int) -> SamplingParams:
        """Make complete settings from those of the line, the job and the model.

        Args:
            said: The line's settings over the job's over the model's (`SamplingSettings.over`).
            max_tokens: Number of tokens that the context leaves for the completion. Upper bound for `said.max_tokens`,
                and its default.
            seed: Default seed, from the job's seed and the line's index (`line_seed`).
        """
        values: dict[str, Any] = {
            name: value for name in said.__struct_fields__ if (value := getattr(said, name)) is not None
        }
        values.pop("bad_words", None)  # the engine gets their token ids (`engine.request.Request.barred_sequences`)
        values["max_tokens"] = min(values.get("max_tokens", max_tokens), max_tokens)
        values.setdefault("seed", seed)
        return cls(**values)


def line_seed(job_seed: int, index: int) -> int:
    """Return the seed of a line without its own: the (index+1)-th output of SplitMix64 from `job_seed`, 63 bits.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mask = 2**64 - 1
    z = (job_seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
