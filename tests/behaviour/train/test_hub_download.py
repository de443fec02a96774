"""model.name=OWNER/NAME downloads a model through Hugging Face's own client, at the commit that is pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from support.command_line import nnrun
from support.fake_hub import TOKEN, FakeHub, fake_hub
from support.huggingface import make_bert
from support.texts import make_texts

pytestmark = pytest.mark.extras

FIRST, SECOND = "1" * 40, "2" * 40
WORDS = ("model=hf", "data=text", "data.root=reviews.csv", "trainer.epochs=1", "export=none", "report=none")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """A hub with a model in two commits, of which `main` is the second; one for a token alone; one without weights."""
    place = tmp_path_factory.mktemp("net")
    commits = {}
    for commit, longest in ((FIRST, 32), (SECOND, 48)):
        make_bert(place / commit, longest=longest)
        commits[commit] = {path.name: path.read_bytes() for path in (place / commit).iterdir()}
        commits[commit]["pytorch_model.bin"] = b"a pickle"
    with fake_hub() as hub:
        bare = {name: content for name, content in commits[SECOND].items() if not name.endswith(".safetensors")}
        hub.commits = {"me/net": commits, "me/closed": {SECOND: commits[SECOND]}, "me/bare": {SECOND: bare}}
        hub.branches, hub.closed = {"main": SECOND, "v1": FIRST}, {"me/closed"}
        yield hub


def run(place: Path, url: str, *words: str, **given: str) -> CompletedProcess[str]:
    """Train in a process of its own: the library reads the address when it is imported."""
    if not (place / "reviews.csv").exists():
        make_texts(place / "reviews.csv", 40)
    known = {"HF_ENDPOINT": url, "HF_HOME": str(place / "home"), "PATH": os.environ["PATH"], **given}
    return nnrun([*WORDS, *words], place, **known)


def model_of(run: Path) -> dict[str, object]:
    """The model's settings in the last checkpoint of a run."""
    newest = max((run / "checkpoints").glob("*.ckpt"))
    saved = torch.load(newest, weights_only=True)
    return saved["config"]["model"]


def test_a_model_is_downloaded_once_at_its_commit(hub: FakeHub, tmp_path: Path) -> None:
    """Its weights are behind a redirect, and nothing but what is read is asked for; afterwards no hub is needed."""
    done = run(tmp_path, hub.url, "model.name=me/net", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert model_of(tmp_path / "run")["revision"] == SECOND
    assert any(path.startswith("/elsewhere/") for path in hub.asked)
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    away = run(tmp_path, hub.url, "model.name=me/net", "hydra.run.dir=away", HF_HUB_OFFLINE="1")
    assert away.returncode == 0, away.stderr
    pinned = run(tmp_path, hub.url, "model.name=me/net", "model.revision=v1", "hydra.run.dir=pinned")
    assert pinned.returncode == 0, pinned.stderr
    assert model_of(tmp_path / "pinned")["revision"] == FIRST
    first = {path.name for path in (tmp_path / "home").rglob("snapshots/*")}
    assert first == {FIRST, SECOND}


OWN = {"HF_TOKEN": TOKEN}


@pytest.mark.parametrize(
    ("asked", "given", "answer"),
    [
        ("me/nothing", {}, (2, "no such public repository on huggingface.co; for a private one set HF_TOKEN")),
        ("me/closed", {}, (2, "for a private one set HF_TOKEN")),
        ("me/closed", OWN, (0, "")),
        ("me/net model.revision=v9", {}, (2, "model.revision is 'v9'; allowed: a commit, branch or tag of me/net")),
        ("me/bare", {}, (4, "model.name=me/bare has no model.safetensors")),
    ],
    ids=["missing", "401", "token", "revision", "pickle"],
)
def test_what_the_hub_refuses_is_said(
    hub: FakeHub, tmp_path: Path, asked: str, given: dict[str, str], answer: tuple[int, str]
) -> None:
    code, says = answer
    done = run(tmp_path, hub.url, *f"model.name={asked}".split(), **given)
    assert done.returncode == code, done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
