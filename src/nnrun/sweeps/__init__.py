"""Sweeps: one job for each combination of values, and their table; places where a run or its jobs start."""
