"""How a context is cut on a GPU. Without Triton, because memory is counted where there is none."""

SPLIT_TOKENS = 512  # a lone sequence of this length keeps a program a head busy for some microseconds
