"""The size of a context's splits on a GPU. This module must not import Triton: memory is also computed without it."""

SPLIT_TOKENS = 512  # tokens per split; one split keeps a program busy for some microseconds
