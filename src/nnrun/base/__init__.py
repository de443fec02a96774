"""Foundations, on the standard library alone: errors, files, paths, signals, secrets, host, targets."""
