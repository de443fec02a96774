"""Metrics, one file per kind of problem: sums on the device, read once."""
