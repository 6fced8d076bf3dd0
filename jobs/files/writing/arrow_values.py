"""Give the columns of a table Arrow types, and convert JSON values to these types."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from jobs.files.formats.json_line import Json
from jobs.files.reading.container import Container
from jobs.files.writing.shapes import Shape

Convert = Callable[[Any], Any]

MAX_TYPES_BYTES = 2**16  # max size of recorded types; a table of more columns gets its types from its values

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # per second
_TIME = re.compile(r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)")


@dataclass(frozen=True)
class Column:
    """Type of a column, and how a JSON value becomes a value of the type."""

    type: Any  # pyarrow.DataType
    convert: Convert | None = None  # converts every value but null; None if JSON values are right


def column_of(shape: Shape) -> Column:
    """Return the type for values of a shape.

    Values of several types become text. Then a value that is no text is written as JSON. Whole numbers and other
    numbers together become floats, if no digit is lost.
    """
    kinds = shape.kinds
    if kinds == {bool}:
        return Column(pa.bool_())
    if kinds == {int} and shape.fits_int64:
        return Column(pa.int64())
    if kinds == {float} or (kinds == {int, float} and shape.fits_float):
        return Column(pa.float64(), float)
    if shape.is_list and shape.items is not None:
        return _list_of(column_of(shape.items), pa.list_)
    if shape.is_object:
        return _struct_of({name: column_of(inner) for name, inner in shape.fields.items()})
    return Column(pa.string(), None if kinds <= {str} else _text)


def float32_column(shape: Shape) -> Column:
    """Return the type for lists of numbers, or for lists of such lists: their numbers are float32."""
    is_nested = shape.items is not None and shape.items.is_list
    inner = pa.list_(pa.float32())
    return Column(pa.list_(inner) if is_nested else inner)


def id_type(kind: Any) -> Any:  # noqa: ANN401 - pyarrow comes without types
    """Return the type of ids that were values of a type, or None for text.

    Ids of whole numbers stay numbers. Their type has at least 32 bits, because a row without an id gets its number.
    """
    if not pa.types.is_integer(kind):
        return None
    if kind.bit_width > 32:
        return kind
    return pa.int32() if pa.types.is_signed_integer(kind) else pa.uint32()


def recorded_types(fields: Iterable[tuple[str, Any]]) -> bytes | None:
    """Return types as bytes for a job's record. None if they are too large.

    Args:
        fields: Name and type of each column.
    """
    kept = bytes(pa.schema([pa.field(name, type) for name, type in fields]).serialize())
    return kept if len(kept) <= MAX_TYPES_BYTES else None


def known_columns(recorded: bytes | None, container: Container) -> dict[str, Column]:
    """Return the columns whose type is recorded and can be written.

    Args:
        recorded: Bytes of `recorded_types`. None if nothing is recorded.
        container: Parquet or Arrow.
    """
    try:
        schema = pa.schema([]) if recorded is None else pa.ipc.read_schema(pa.py_buffer(recorded))
    except (pa.ArrowException, OSError, ValueError):  # without a readable record, the types come from the values
        return {}
    found = {}
    for field in schema:
        kind = field.type
        if container is Container.ARROW and pa.types.is_dictionary(kind):
            kind = kind.value_type  # a file has one dictionary per column, which is complete only after the last row
        column = _column_of_type(kind)
        if column is not None and (container is Container.ARROW or _fits_parquet(kind)):
            found[field.name] = column
    return found


def _fits_parquet(kind: Any) -> bool:  # noqa: ANN401
    try:
        parquet.write_table(pa.table({"x": pa.nulls(1, kind)}), io.BytesIO())
    except (pa.ArrowException, NotImplementedError):
        return False
    return True


def _column_of_type(kind: Any) -> Column | None:  # noqa: ANN401, PLR0911 - one line per type
    """Return how JSON becomes a type. None for a type whose values cannot be restored from JSON."""
    types = pa.types
    if types.is_integer(kind):
        return Column(kind, int)  # an id is text
    if _is_plain(kind):
        return Column(kind)
    if types.is_decimal(kind):
        return Column(kind, Decimal)
    if types.is_date(kind):
        return Column(kind, date.fromisoformat)
    if types.is_timestamp(kind) or types.is_time(kind):
        per_second = _TICKS[kind.unit]
        return Column(kind, lambda text: _ticks(text, per_second))
    if types.is_duration(kind):
        return Column(kind, _duration)
    if _is_binary(kind):
        return Column(kind, base64.b64decode)
    if types.is_dictionary(kind):
        inner = _column_of_type(kind.value_type)
        return None if inner is None else Column(kind, inner.convert)
    return _nested_column_of_type(kind)


def _is_plain(kind: Any) -> bool:  # noqa: ANN401
    types = pa.types
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(is_text or types.is_null(kind) or types.is_boolean(kind) or types.is_floating(kind))


def _is_binary(kind: Any) -> bool:  # noqa: ANN401
    types = pa.types
    is_sized = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return bool(is_sized or types.is_binary_view(kind))


def _nested_column_of_type(kind: Any) -> Column | None:  # noqa: ANN401
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        items = _column_of_type(kind.value_type)
        return None if items is None or types.is_dictionary(kind.value_type) else _list_of(items, lambda _: kind)
    if types.is_struct(kind):
        fields = {field.name: _column_of_type(field.type) for field in kind}
        known = {name: column for name, column in fields.items() if column is not None}
        if len(known) < kind.num_fields or any(types.is_dictionary(column.type) for column in known.values()):
            return None
        return Column(kind, _struct_of(known).convert)
    if types.is_map(kind):
        key, item = _column_of_type(kind.key_type), _column_of_type(kind.item_type)
        return None if key is None or item is None else Column(kind, lambda pairs: _pairs(pairs, key, item))
    return None


def _list_of(items: Column, list_type: Callable[[Any], Any]) -> Column:
    convert = items.convert
    if convert is None:
        return Column(list_type(items.type))
    return Column(list_type(items.type), lambda values: [None if value is None else convert(value) for value in values])


def _struct_of(fields: Mapping[str, Column]) -> Column:
    kind = pa.struct([pa.field(name, column.type) for name, column in fields.items()])
    converts = {name: column.convert for name, column in fields.items() if column.convert is not None}

    def convert(value: dict[str, Json]) -> dict[str, Any]:
        changed = {name: to(value[name]) for name, to in converts.items() if value.get(name) is not None}
        return {**value, **changed}

    return Column(kind, convert if converts else None)


def _pairs(pairs: list[list[Json]], key: Column, item: Column) -> list[tuple[Any, Any]]:
    def converted(column: Column, value: Json) -> Any:  # noqa: ANN401
        return value if column.convert is None or value is None else column.convert(value)

    return [(converted(key, name), converted(item, value)) for name, value in pairs]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _ticks(text: str, per_second: int) -> int:
    """Return a date with time, or a time of day, as a number of ticks since its zero."""
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is no time")
    day, clock, fraction, zone = parts.groups()
    moment = datetime.fromisoformat(f"{day or '1970-01-01'}T{clock}{zone.replace('Z', '') or '+00:00'}")
    ticks = int((fraction or "").ljust(9, "0")) * per_second // _TICKS["ns"]
    return (moment - _EPOCH) // timedelta(seconds=1) * per_second + ticks


def _duration(value: int | str) -> int | timedelta:
    """Return a duration, which is a number of ticks. Inside a list or an object it is a text of ISO 8601."""
    return value if isinstance(value, int) else msgspec.convert(value, timedelta)
