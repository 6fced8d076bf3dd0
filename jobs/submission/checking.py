"""Check a file against a job's options, and say what its author should know."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jobs.errors import InvalidInput
from jobs.files.file_report import FileRefused, FileReport
from jobs.files.formats.features.thinking import ThinkingRules, switch_fault
from jobs.files.formats.line_decoder import LineRules
from jobs.files.formats.model_checks import same_model
from jobs.files.formats.seen_ids import LinesBefore
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.writing.destination import Destination
from jobs.files.writing.file_format import file_format
from jobs.files.writing.rows import Layout, rows_to
from jobs.records.constraint import ConstraintKind
from jobs.records.job import Format
from jobs.submission.submit_options import SubmitOptions

_NAMES_SHOWN = 10
_CONSTRAINTS: dict[ConstraintKind, str] = {"json": "--schema", "choice": "--choices", "regex": "--regex"}


def check_file(
    file: PromptFile,
    options: SubmitOptions,
    after: LinesBefore | None = None,
    errors: Destination | None = None,
    keep: bool = False,
) -> CheckedFile:
    """Check every line of a file.

    Args:
        file: The prompt file.
        options: Options of the job. Lines are checked against `options.card`, if there is one.
        after: Lines of the job to which these lines are added. None if the file becomes a new job.
        errors: File that gets every fault if the file is refused: one row per bad line.
        keep: As in `PromptFile.check`.

    Raises:
        InvalidInput: The file cannot be submitted, or its lines name several models.
    """
    lines = options.lines
    _check_thinking(options)
    _check_embeddings(options)
    thinking = ThinkingRules(options.defaults, options.line_defaults, options.card)
    model = options.model if lines.strict_model else None
    constraint = options.line_defaults.constraint
    rules = LineRules(
        model,
        options.card,
        after,
        lines.keep,
        thinking,
        last_assistant=lines.last_assistant,
        defaults=options.defaults,
        constraint=constraint,
        n=lines.n,
    )
    try:
        checked = file.check(rules, options.skip_invalid, keep)
    except FileRefused as refusal:
        if errors is None:
            raise
        _write_faults(file, rules, errors)
        raise FileRefused(refusal.message, f"{refusal.hint} All faults are in {errors.name}.") from None
    _check_scores(options, checked.report.format)
    if after is None:  # the lines of a job that exists had a use for its constraint
        _check_constraint(options, checked.report)
    names = distinct_models(checked.report.notes.models)
    if len(names) > 1 and not lines.any_model:
        raise InvalidInput(
            f"{file.name} names {len(names):,} models: {_shown(names)}.",
            "Nothing was stored. Split the file by model, or use --any-model to let one model answer all lines.",
        )
    return checked


def _check_thinking(options: SubmitOptions) -> None:
    """Refuse options that the model's chat template would ignore. Raises `InvalidInput`."""
    card, switch = options.card, options.line_defaults.thinking
    if card is None:
        return
    if switch is not None and (fault := switch_fault("--thinking", switch, card)) is not None:
        raise InvalidInput(f"{fault}.")
    if options.defaults.thinking_token_budget is not None and card.thinking == "never":
        raise InvalidInput(f"--thinking-budget has no meaning: {card.name} does not think.", "Leave it out.")


def _check_embeddings(options: SubmitOptions) -> None:
    """Refuse options for texts if the model makes embeddings. Raises `InvalidInput`."""
    card, defaults = options.card, options.line_defaults
    if card is None or card.kind != "embedding":
        return
    given = {
        "A schema, choices or a regular expression": defaults.constraint is not None,
        "--score": bool(defaults.score),
        f"-n {options.lines.n}": options.lines.n > 1,
    }
    for name, is_given in given.items():
        if is_given:
            raise InvalidInput(f"{name} has no meaning: {card.name} makes embeddings and no texts.", "Leave it out.")


def _check_scores(options: SubmitOptions, format: Format) -> None:
    """Refuse choices to score for lines that cannot be scored. Raises `InvalidInput`."""
    if not options.line_defaults.score:
        return
    if format != "native":
        raise InvalidInput("--score is for native lines, and the file is in the OpenAI format.", "Use --choices.")
    if options.line_defaults.thinking:
        raise InvalidInput("--score and --thinking cannot be used together.", "Choices are scored without a thought.")
    if options.lines.n > 1:
        raise InvalidInput(f"--score and -n {options.lines.n} cannot be used together.", "Nothing is generated.")
    card = options.card
    if card is not None and card.thinking == "always":
        raise InvalidInput(
            f"--score needs an answer without a thought, but {card.name} always thinks.",
            "Use a model that can answer at once.",
        )


def _check_constraint(options: SubmitOptions, report: FileReport) -> None:
    """Refuse a constraint if no line of the file asks for a text. Raises `InvalidInput`."""
    constraint = options.line_defaults.constraint
    if constraint is None or report.notes.without_text < report.num_lines - report.bad_lines.count:
        return
    name = _CONSTRAINTS.get(constraint.kind, "The constraint")
    raise InvalidInput(
        f"{name} has no meaning: the lines of {report.name} ask for scores, embeddings or rankings, and for no text.",
        "Leave it out.",
    )


def _write_faults(file: PromptFile, rules: LineRules, errors: Destination) -> None:
    layout = Layout(("line", "errors"))
    with errors.open() as output, rows_to(output, file_format(errors.name), lambda: layout) as rows:
        for source, number, faults in file.faults(rules):
            place = {"line": number} if source is None else {"source": source, "line": number}
            rows.write(msgspec.json.encode(place | {"errors": faults}) + b"\n")
        rows.finish()


def notices_of(report: FileReport, model: str) -> list[str]:
    """Return what the author of a file should know: lines that name another model, and fields without effect.

    Args:
        report: Report of the file.
        model: The job's model.
    """
    names = distinct_models(report.notes.models)
    others = {name: count for name, count in names.items() if not same_model(name, model)}
    if not others:
        return report.notices()
    count = sum(others.values())
    verb = "line names" if count == 1 else "lines name"
    name = next(iter(others)) if len(others) == 1 else _shown(others)
    return [f"{count:,} {verb} {name}; {model} answers {'it' if count == 1 else 'them'}.", *report.notices()]


def distinct_models(models: Mapping[str, int]) -> dict[str, int]:
    """Return the number of lines per model. Two spellings of one model count together, under the first of them."""
    counts: dict[str, int] = {}
    for name, count in models.items():
        known = next((other for other in counts if same_model(name, other)), name)
        counts[known] = counts.get(known, 0) + count
    return counts


def _shown(counts: Mapping[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda item: -item[1])
    names = [f"{name} ({count:,} {'line' if count == 1 else 'lines'})" for name, count in largest[:_NAMES_SHOWN]]
    more = len(largest) - _NAMES_SHOWN
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
