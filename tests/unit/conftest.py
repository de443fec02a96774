from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from nnrun.core.seams.data import Split
from support.small_training import Plain, Small, make_network, make_split


@pytest.fixture
def small() -> type[Small]:
    return Small


@pytest.fixture(name="make_split")
def _make_split() -> Callable[..., Split]:
    return make_split


@pytest.fixture(name="make_network")
def _make_network() -> Callable[..., nn.Module]:
    return make_network


@pytest.fixture
def plain() -> Plain:
    return Plain()
