"""Processes that work ahead of a training, and the pipes to them."""
