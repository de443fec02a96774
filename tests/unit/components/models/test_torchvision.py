"""Published weights: from the cache, under the network's names, and whole."""

from __future__ import annotations

import urllib.error
from types import SimpleNamespace

import pytest
import torch

from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.files import sha256_of
from nnrun.components.models.torchvision import published


def entry(url: str, fetch) -> SimpleNamespace:
    return SimpleNamespace(url=url, get_state_dict=fetch)


def test_published_weights_come_from_the_cache_or_an_error_says_which_file_to_put_where(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "a ché="))
    folder = tmp_path / "a ché=" / "hub" / "checkpoints"

    def fetch(**options):
        assert options["weights_only"] and options["check_hash"]
        if not list(folder.glob("net-*.pth")):
            raise urllib.error.URLError("no network here")
        return torch.load(next(folder.glob("net-*.pth")), weights_only=True)

    with pytest.raises(ResourceError) as caught:
        published(entry("https://example.org/net-00000000.pth", fetch))
    assert str(caught.value).endswith(
        f"no network here>); put that file at {folder}/net-00000000.pth, or set transfer.weights=PATH"
    )
    folder.mkdir(parents=True)
    torch.save({"features.denselayer1.norm.1.weight": torch.ones(1), "fc.bias": torch.ones(1)}, folder / "x")
    digits = sha256_of(folder / "x")[:8]
    path = (folder / "x").rename(folder / f"net-{digits}.pth")
    found = published(entry(f"https://example.org/net-{digits}.pth", fetch))
    assert (list(found.weights), found.path) == (["features.denselayer1.norm1.weight", "fc.bias"], path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="is damaged"):
        published(entry(f"https://example.org/net-{digits}.pth", fetch))
