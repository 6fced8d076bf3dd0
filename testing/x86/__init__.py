"""Runs kernels on an x86-64 processor that lacks some of their instructions."""
