"""Options of a submission, and the name of a file that is submitted with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from jobs.files.file_report import FileReport
from jobs.files.formats.features.last_assistant import LastAssistant
from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.sampling import SamplingSettings


@dataclass(frozen=True)
class LineOptions:
    """The user's options about the content of lines, beside the rules of their format."""

    strict_model: bool = False  # True: a line that names another model than the job's is bad
    any_model: bool = False  # True: lines may name several models
    keep: tuple[str, ...] | None = None  # columns to keep; None for all of them
    last_assistant: LastAssistant = LastAssistant.ANSWER  # what to do with an assistant's message at the end
    n: int = 1  # completions per prompt of lines that do not say


@dataclass(frozen=True)
class SubmitOptions:
    """Options of a submission."""

    model: str  # the served model's name
    defaults: SamplingSettings = field(default_factory=SamplingSettings)  # settings that a line does not set itself
    seed: int = 0  # source of the seed of each line without its own
    skip_invalid: bool = False  # True: a bad line becomes an `invalid_line` result; False: the file is refused
    card: ModelCard | None = None  # the model's facts; None for the card that a worker has published, if any
    lines_per_shard: int | None = None  # None for `jobs.submission.sharding.shard_size`
    priority: int = 0  # a job with a higher priority runs first
    deadline_seconds: float | None = None  # max seconds from the moment at which the whole job is stored
    reuse: bool = False  # True: lines that an earlier job of the model has completed do not run again
    lines: LineOptions = LineOptions()
    line_defaults: LineDefaults = NO_LINE_DEFAULTS  # further values for lines that do not say
    project: str | None = None  # project and id of the batch that the job belongs to
    batch: str | None = None


def fingerprint_of(report: FileReport, model: str, options: SubmitOptions, quantize: str = "none") -> str:
    """Return a name for a file with its model and options. Runs with the same name are the same run.

    Args:
        report: Report of the file.
        model: The model as given, because two folders may have the same served name.
        options: Options of the command.
        quantize: Setting of the workers. All lines of a run come from one kind of weights.
    """
    facts = [report.digest, model, quantize, options.model, options.defaults, options.seed, options.skip_invalid]
    if options.lines.strict_model or options.lines.keep is not None:
        facts += [options.lines.strict_model, options.lines.keep]
    if options.lines.last_assistant is not LastAssistant.ANSWER:
        facts.append(options.lines.last_assistant)
    if options.lines.n > 1:
        facts.append({"n": options.lines.n})
    if options.line_defaults != NO_LINE_DEFAULTS:
        facts.append(options.line_defaults)
    return hashlib.blake2b(msgspec.json.encode(facts), digest_size=10).hexdigest()


def submission_key(said: str | None, report: FileReport, model: str, options: SubmitOptions) -> str:
    """Return the key of a submission: the user's own, or else one of its content (`fingerprint_of`).

    A user's key never equals a key made from the content.
    """
    return f"said:{said}" if said is not None else f"content:{fingerprint_of(report, model, options)}"
