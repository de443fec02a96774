"""Optimizers that torch has not: one file each."""
