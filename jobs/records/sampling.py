"""How the next token is chosen: what a line says, and what holds once every default is in.

Named as vLLM and the OpenAI API name them. `SamplingSettings` is partial (`None` means "not said") and crosses process
borders; `SamplingParams` is complete and is what the engine runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # an eos token, a stop token or a stop string
    LENGTH = "length"  # max_tokens, or the end of the model's context


@dataclass(frozen=True)
class Range:
    """The values a numeric setting may take; `inclusive_low` says whether `low` itself is one of them."""

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
}


class SamplingSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Sampling settings as far as somebody said them: a line, the options of `submit`, a generation_config.json.

    Raises:
        ValueError: A value is outside its range; the message names the setting, the value and the range. msgspec
            turns it into its ValidationError when it decodes.
    """

    max_tokens: int | None = None  # new tokens at the most
    min_tokens: int | None = None  # eos and stops are barred before this many new tokens
    temperature: float | None = None  # 0 is greedy
    top_k: int | None = None  # 0 keeps all
    top_p: float | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    stop_token_ids: tuple[int, ...] | None = None
    ignore_eos: bool | None = None

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ValueError(f"`{name}` is {value!r}; it must be {allowed}")
        _check_stop(self.stop or ())
        if any(token < 0 for token in self.stop_token_ids or ()):
            raise ValueError(f"`stop_token_ids` has a negative id: {min(self.stop_token_ids or ())}")

    def over(self, defaults: SamplingSettings) -> SamplingSettings:
        """These settings, with `defaults` where nothing is said here."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(defaults, **said) if said else defaults


def _check_stop(stop: tuple[str, ...]) -> None:
    if len(stop) > MAX_STOP_STRINGS:
        raise ValueError(f"`stop` has {len(stop)} strings; at most {MAX_STOP_STRINGS} are allowed")
    for text in stop:
        if not 0 < len(text) <= MAX_STOP_STRING_CHARS:
            raise ValueError(f"a `stop` string has {len(text)} characters; it must have 1 to {MAX_STOP_STRING_CHARS}")


# One for all lines without settings: as their default it is not stored, nor checked again where it is read.
NOTHING_SAID = SamplingSettings()


@dataclass(frozen=True)
class SamplingParams:
    """Complete sampling settings of one sequence. Ranges are those of `RANGES`.

    `seed` alone decides the random numbers: the token at position p is drawn with a uniform that is a function of
    (seed, p), so a completion depends on no neighbour, batch or restart.
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

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; it must be {allowed}")
        _check_stop(self.stop)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, without a random number."""
        return self.temperature == 0

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens change the logits."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1

    @classmethod
    def resolve(cls, said: SamplingSettings, *, max_tokens: int, seed: int) -> SamplingParams:
        """Fill in what is still unsaid after the line, the job and the model have spoken.

        Args:
            said: The line's settings over the job's over the model's (`SamplingSettings.over`).
            max_tokens: What the model's context leaves for this prompt; also caps what was said.
            seed: Used if none is said: a function of the job's seed and the line's index (`line_seed`).
        """
        values: dict[str, Any] = {
            name: value for name in said.__struct_fields__ if (value := getattr(said, name)) is not None
        }
        values["max_tokens"] = min(values.get("max_tokens", max_tokens), max_tokens)
        values.setdefault("seed", seed)
        return cls(**values)


def line_seed(job_seed: int, index: int) -> int:
    """The seed of a line that names none: the (index+1)-th output of SplitMix64 started at the job's seed, 63 bits.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mask = 2**64 - 1
    z = (job_seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
