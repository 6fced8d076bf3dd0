"""The number of what processes say to each other and lay in the store."""

from __future__ import annotations

# Raise it when a process of the version before could misread what this one writes, or the other way round: another
# layout of keys, another meaning of a field, another hint. A new field with a default is no reason.
WIRE_FORMAT = 2
