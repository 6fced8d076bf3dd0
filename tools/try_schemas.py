"""Try JSON schemas with a model of random weights. Fails if a completion does not follow its schema.

    python -m tools.try_schemas FOLDER [--copies 5] [--tokens 160] [--temperature 2]

FOLDER has JSON files, in folders of any depth. A file is a schema, or one of the JSON Schema Test Suite: a list whose
items each have a `schema`. A schema is refused, enforced in part or enforced. Each schema that is enforced gets several
completions. Those that end before their maximum length must be valid for the package `jsonschema`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import torch
from jsonschema.validators import validator_for
from referencing.exceptions import Unresolvable

from engine.load import LoadedEngine
from engine.request import ConstraintFailed, Request
from jobs.constraints.checker import ConstraintChecker
from jobs.constraints.grammar import grammar_of
from jobs.files.formats.fields import Notes
from jobs.files.formats.json_line import LineInvalid
from jobs.records.constraint import Constraint
from jobs.records.sampling import FinishReason, SamplingParams
from model.grammar import Grammars
from testing.models.byte_level_tokenizer import END_OF_TEXT, write_byte_level_tokenizer
from testing.models.cpu_engine import cpu_engines
from testing.models.tiny_checkpoint import write_tiny_checkpoint

Schema = dict[str, Any]
# What `jsonschema` raises at a pattern of JavaScript alone, and at a reference that it cannot follow.
NOT_JUDGED = (re.error, AttributeError, Unresolvable)
WRONG = "completions that are wrong"
GROUP = 20  # schemas whose completions run together


def schemas_in(folder: Path) -> Iterator[tuple[str, Schema]]:
    """Return the schemas of all JSON files, each with a name."""
    for path in sorted(folder.rglob("*.json")):
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            print(f"{path} is no JSON", file=sys.stderr)
            continue
        name = str(path.relative_to(folder))
        if isinstance(read, dict):
            yield name, read
        elif isinstance(read, list):
            for item in read:
                if isinstance(item, dict) and isinstance(item.get("schema"), dict):
                    yield f"{name}, {item.get('description', '')}", item["schema"]


def enforced_in(folder: Path, counts: Counter[str]) -> Iterator[tuple[str, Constraint]]:
    """Return the schemas that are enforced, and count all."""
    for name, schema in schemas_in(folder):
        notes = Notes()
        try:
            constraint = ConstraintChecker(notes).checked(Constraint("json", json.dumps(schema)))
        except LineInvalid as error:
            counts["schemas refused"] += 1
            print(f"refused: {name}: {error}")
            continue
        counts["schemas enforced in part" if notes.unenforced else "schemas enforced"] += 1
        if not notes.unenforced:
            yield name, constraint


def verdict_on(schema: Schema, text: str) -> str:
    """Return what the package `jsonschema` says of a completion."""
    plain = validator_for(schema, default=jsonschema.Draft202012Validator)
    validator = jsonschema.validators.extend(plain, {"pattern": _pattern})
    try:
        validator(schema, format_checker=jsonschema.FormatChecker()).validate(json.loads(text))
    except NOT_JUDGED:
        return "completions that jsonschema cannot judge"
    except (ValueError, jsonschema.ValidationError):
        return WRONG
    return "completions that are valid"


def _pattern(_: object, pattern: str, value: object, _schema: object) -> Iterator[jsonschema.ValidationError]:
    r"""Check the keyword `pattern`. In JSON Schema, \w and \d are of ASCII, as in Python with a flag, and \s is not."""
    if isinstance(value, str) and not any(re.search(pattern, value, flag) for flag in (re.ASCII, re.UNICODE)):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def try_group(loaded: LoadedEngine, group: list[tuple[str, Constraint]], options: argparse.Namespace) -> Counter[str]:
    """Complete prompts with each schema. Return the numbers of completions by their ends."""
    counts: Counter[str] = Counter()
    grammars = Grammars(loaded.tokenizer, loaded.eos_token_ids)
    tickets = [
        (name, constraint, loaded.engine.submit(Request((7, 9, seed), params, grammar=grammar)))
        for name, constraint in group
        for grammar in [grammars.compiled(grammar_of(constraint))]
        for seed in range(options.copies)
        for params in [SamplingParams(max_tokens=options.tokens, temperature=options.temperature, seed=seed)]
    ]
    for name, constraint, ticket in tickets:
        try:
            output = ticket.future.result()
        except ConstraintFailed as error:
            counts["completions that failed by name"] += 1
            print(f"failed: {name}: {error}")
            continue
        if output.finish_reason is not FinishReason.STOP:
            counts["completions cut by their maximum length"] += 1
            continue
        verdict = verdict_on(json.loads(constraint.text), output.text)
        counts[verdict] += 1
        if verdict == WRONG:
            print(f"WRONG: {name}: {output.text[:200]!r}")
    return counts


def main() -> None:
    """Try all schemas, print the counts, and exit with 1 if a completion is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=5, help="completions per schema")
    parser.add_argument("--tokens", type=int, default=160, help="maximum length of a completion")
    parser.add_argument("--temperature", type=float, default=2.0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    group: list[tuple[str, Constraint]] = []
    with tempfile.TemporaryDirectory() as name, cpu_engines(_write_model(Path(name)), torch.float32) as load:
        loaded = load()
        for each in enforced_in(options.folder, counts):
            group.append(each)
            if len(group) == GROUP:
                counts += try_group(loaded, group, options)
                group = []
        counts += try_group(loaded, group, options)
    print(*(f"{count:6,} {what}" for what, count in sorted(counts.items())), sep="\n")
    sys.exit(counts[WRONG] > 0)


def _write_model(folder: Path) -> Path:
    write_tiny_checkpoint(folder)
    write_byte_level_tokenizer(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END_OF_TEXT}), encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
