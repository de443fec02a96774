"""Loggers, which receive a run's metrics: one file each."""
