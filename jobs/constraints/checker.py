"""Check constraints before a job is stored: schemas, regular expressions, choices and grammars.

The check takes 0.1 to 1 ms, so its verdict is kept: usually all lines of a file have the same constraint.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from jobs.constraints.grammar import grammar_of
from jobs.constraints.validation import Findings, Validator
from jobs.files.formats.fields import Notes
from jobs.files.formats.json_line import LineInvalid, check_free_form, shown
from jobs.records.constraint import Constraint
from jobs.records.sampling import SamplingSettings

MAX_CHOICES = 10_000
MAX_CHARS = {"json": 1_000_000, "choice": 1_000_000, "grammar": 100_000, "regex": 20_000}
NAMES = {"json": "the JSON schema", "choice": "the list of choices", "grammar": "the grammar", "regex": "the regex"}
_VERDICTS_KEPT = 1000
_GBNF = "::="  # stands in every rule of llama.cpp's grammars, and in none of Lark's


@dataclass(frozen=True)
class _Verdict:
    constraint: Constraint  # as the store keeps it
    fault: str | None  # reason why the constraint cannot be used
    unenforced: str  # keywords that are not enforced, for a notice


class ConstraintChecker:
    """Checks the constraints of the lines of one file.

    Args:
        notes: Gets the keywords of schemas that are not enforced.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._validator = Validator()
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._last: tuple[Constraint, _Verdict] | None = None  # most files have one constraint

    def checked(self, constraint: Constraint) -> Constraint:
        """Return the constraint as the store keeps it: llama.cpp's grammars become Lark's.

        Args:
            constraint: A constraint of any kind but `text`.

        Raises:
            LineInvalid: The constraint cannot be used.
        """
        last = self._last
        if last is None or (constraint is not last[0] and constraint != last[0]):
            last = self._last = constraint, self._verdict(constraint)
        verdict = last[1]
        if verdict.fault is not None:
            raise LineInvalid(verdict.fault)
        if verdict.unenforced:
            self._notes.count(self._notes.unenforced, verdict.unenforced)
        return verdict.constraint

    def _verdict(self, constraint: Constraint) -> _Verdict:
        facts = (constraint.kind, constraint.strict, constraint.whitespace)
        hash = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        hash.update(constraint.text.encode())
        digest = hash.digest()
        verdict = self._verdicts.get(digest)
        if verdict is None:
            verdict = self._verdicts[digest] = self._find(constraint)
            if len(self._verdicts) > _VERDICTS_KEPT:
                self._verdicts.popitem(last=False)
        return verdict

    def _find(self, constraint: Constraint) -> _Verdict:
        try:
            _check_size(constraint)
            if constraint.kind == "grammar" and _GBNF in constraint.text:
                constraint = msgspec.structs.replace(constraint, text=self._validator.lark_of(constraint.text))
            findings = self._validator.findings(grammar_of(constraint))
            _raise_fault(constraint, findings)
        except LineInvalid as error:
            return _Verdict(constraint, str(error), "")
        return _Verdict(constraint, None, ", ".join(findings.unenforced))


def check_settings(settings: SamplingSettings, defaults: SamplingSettings) -> None:
    """Refuse settings that a constraint contradicts: they could leave no token to choose from.

    Args:
        settings: The line's settings.
        defaults: The job's settings, which apply where the line has none.

    Raises:
        LineInvalid: One of the settings contradicts a constraint.
    """
    for name in ("min_tokens", "ignore_eos", "bad_words", "allowed_token_ids"):
        own = getattr(settings, name)
        if value := getattr(defaults, name) if own is None else own:
            raise LineInvalid(
                f"`{name}` is {shown(value)}; it cannot be used with a schema or another constraint: leave it out"
            )


def _check_size(constraint: Constraint) -> None:
    name, size, allowed = NAMES[constraint.kind], len(constraint.text), MAX_CHARS[constraint.kind]
    if size > allowed:
        raise LineInvalid(f"{name} has {size:,} characters; it must have at most {allowed:,}")
    if constraint.kind == "choice":
        count = len(msgspec.json.decode(constraint.text))
        if count > MAX_CHOICES:
            raise LineInvalid(f"{name} has {count:,} texts; it must have at most {MAX_CHOICES:,}")
    if constraint.kind == "json":
        check_free_form(msgspec.json.decode(constraint.text), "schema")


def _raise_fault(constraint: Constraint, findings: Findings) -> None:
    name = NAMES[constraint.kind]
    if findings.fault is not None:
        raise LineInvalid(f"{name} cannot be used: {findings.fault}")
    if findings.unenforced and constraint.strict:
        raise LineInvalid(
            f"{name} has {', '.join(findings.unenforced)}, which cannot be enforced; leave it out, or set `strict` "
            "to false"
        )
