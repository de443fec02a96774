"""The versions that a run records."""

from __future__ import annotations

from importlib import metadata

import pytest

import nnrun
from nnrun.runs.environment import VERSIONED, version_of


@pytest.fixture(autouse=True)
def _afresh():
    version_of.cache_clear()
    yield
    version_of.cache_clear()


def test_nnrun_has_a_version_where_it_runs_uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a package that is not installed has none."""

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    versions = {name: version_of(name) for name in VERSIONED}
    assert versions == dict.fromkeys(VERSIONED) | {"nnrun": nnrun.__version__}
