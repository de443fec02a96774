"""Hydra's state, which belongs to the process: restored for a program that uses Hydra itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer


@contextmanager
def hydra_of_its_own() -> Iterator[None]:
    """Give the block an unused Hydra to compose configs with; restore Hydra's state and the resolvers afterwards."""
    composing, described, version = GlobalHydra.instance(), HydraConfig.instance(), VersionBase.instance()
    before = composing.hydra, described.cfg, version.version_base, dict(BaseContainer._resolvers)
    composing.clear()
    try:
        yield
    finally:
        GlobalHydra.set_instance(composing)  # composing replaces it by a copy
        composing.hydra, described.cfg, version.version_base, resolvers = before
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)
