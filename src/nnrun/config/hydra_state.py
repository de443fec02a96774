"""Hydra's own state, which is the process's: put back as it was for a program that uses Hydra itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf.basecontainer import BaseContainer


@contextmanager
def hydra_of_its_own() -> Iterator[None]:
    """Let the block compose configs as if nobody had used Hydra, and put back what it was set to and the resolvers."""
    composing, described, version = GlobalHydra.instance(), HydraConfig.instance(), VersionBase.instance()
    before = composing.hydra, described.cfg, version.version_base, dict(BaseContainer._resolvers)
    composing.clear()
    try:
        yield
    finally:
        GlobalHydra.set_instance(composing)  # composing puts a copy into its place
        composing.hydra, described.cfg, version.version_base, resolvers = before
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)
