"""Inspect a network and its data before training."""
