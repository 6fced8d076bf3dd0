"""Constraints on the text of a completion."""

from __future__ import annotations

from typing import Literal

import msgspec

ConstraintKind = Literal["json", "regex", "choice", "grammar", "text"]


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Constraint on the text of a completion. `jobs.constraints.grammar` turns it into a grammar.

    A line of the kind `text` is free, even if its job has a constraint.
    """

    kind: ConstraintKind
    text: str = ""  # a JSON schema, a regular expression, a JSON list of choices, or a grammar in Lark's syntax
    strict: bool = False  # True: a schema with a keyword that cannot be enforced is refused
    whitespace: str | None = None  # regular expression for the white space between JSON's tokens; None for our own


FREE_TEXT = Constraint("text")
JSON_OBJECT = Constraint("json", '{"type":"object"}')
