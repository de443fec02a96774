"""Metrics, one file a kind of problem: sums on the device, read once."""
