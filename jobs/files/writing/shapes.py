"""Find out what the values of a column have in common, so that the column can get a type."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.files.formats.json_line import Json

MAX_FIELDS = 200  # max keys of an object that becomes a nested column
MAX_DEPTH = 16  # max nesting of a column with a nested type

_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # integers that a float of 64 bits holds exactly


@dataclass
class Shape:
    """Common type of the values of a column. `add` takes the values."""

    kinds: set[type] = field(default_factory=set)  # types of the values; null has none
    fits_int64: bool = True  # False after an integer of more than 64 bits
    fits_float: bool = True  # False after an integer that no float holds exactly
    items: Shape | None = None  # shape of the lists' items
    fields: dict[str, Shape] = field(default_factory=dict)  # shapes of the objects' values

    def add(self, value: Json, depth: int = 0) -> None:
        """Add one value of the column, a decoded JSON value."""
        if value is None:
            return
        kind = type(value)
        self.kinds.add(kind)
        if kind is int:
            self.fits_float = self.fits_float and value in _EXACT
            self.fits_int64 = self.fits_int64 and value in _INT64
        elif kind is list and depth < MAX_DEPTH:
            self.items = self.items or Shape()
            for item in value:
                self.items.add(item, depth + 1)
        elif kind is dict and depth < MAX_DEPTH and len(self.fields) <= MAX_FIELDS:
            for name, inner in value.items():
                if name not in self.fields:
                    self.fields[name] = Shape()
                self.fields[name].add(inner, depth + 1)

    @property
    def is_list(self) -> bool:
        """True if all values are lists that are not nested too deeply."""
        return self.kinds == {list} and self.items is not None

    @property
    def is_object(self) -> bool:
        """True if all values are objects whose keys can be nested columns."""
        return self.kinds == {dict} and 0 < len(self.fields) <= MAX_FIELDS
