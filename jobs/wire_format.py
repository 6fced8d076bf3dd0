"""Version number of the data that processes exchange and store."""

from __future__ import annotations

# Increase it when the previous version could misread data of this version, or the other way round. Examples are another
# layout of keys, another meaning of a field, or another hint. A new field with a default needs no increase.
WIRE_FORMAT = 2
