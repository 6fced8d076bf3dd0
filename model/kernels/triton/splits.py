"""The size of a context's splits on a GPU.

This module must not import Triton, because the engine's memory estimate needs the size without Triton, too.
"""

SPLIT_TOKENS = 512  # tokens per split; one split keeps a program busy for some microseconds
