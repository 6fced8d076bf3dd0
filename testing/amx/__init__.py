"""Runs the kernels for AMX on a processor that lacks its tiles."""
