"""Copies of configs, in less than half the time that OmegaConf takes: a run makes ten, a sweep ten for each job."""

from __future__ import annotations

import pickle

from omegaconf import DictConfig


def packed(config: DictConfig) -> bytes:
    """Return a config as bytes, of which `unpacked` makes as many copies as are needed."""
    return pickle.dumps(config, pickle.HIGHEST_PROTOCOL)


def unpacked(content: bytes) -> DictConfig:
    """Return a new config from bytes that `packed` made in this process; never call it with those of a file."""
    return pickle.loads(content)  # type: ignore[no-any-return]


def copy_of(config: DictConfig) -> DictConfig:
    """Return an independent copy of a whole config, references and flags included."""
    return unpacked(packed(config))
