"""Sweeps: one job for each combination of values, and their table."""
