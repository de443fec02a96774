"""Fuzzing of everything that reads a file: what nobody thought of must be refused, not crash."""
