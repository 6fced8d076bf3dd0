"""The operators' namespace. `torch.compile` sees an operator as one opaque call with a known result shape."""

from __future__ import annotations

import torch

LIBRARY = torch.library.Library("qwen_batch", "DEF")

# Reached on every device for which no faster kernel is registered.
ANY_DEVICE = "CompositeExplicitAutograd"
