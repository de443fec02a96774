"""Fuzzing of the readers of files: what nobody thought of must be refused, not crash."""
