"""export.hub.repo=: a verified folder is uploaded, or an error says why not; the token is in no file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

import nnrun as package
from support.command_line import nnrun, run_here
from support.fake_hub import TOKEN, fake_hub
from support.small_runs import summary

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("upload")
    words = ["model=mlp", "trainer.epochs=1", "data.limit=200", "export=none", "report=none", "hydra.run.dir=run"]
    assert run_here(words, place).code == 0
    return place


def upload(place: Path, name: str, url: str, *words: str, token: str | None = TOKEN) -> CompletedProcess[str]:
    """Export the run for the hub in a process of its own: the library reads the address when it is imported."""
    given = {"HF_ENDPOINT": url, "HF_HOME": str(place / "home"), "PATH": os.environ["PATH"]}
    given |= {} if token is None else {"HF_TOKEN": token}
    words = ("ckpt=run", "export=hub", "export.hub.repo=me/net", f"hydra.run.dir={name}", *words)
    return nnrun(list(words), place, **given)


def test_the_uploaded_folder_is_read_back_and_no_file_has_the_token(place: Path, tmp_path: Path) -> None:
    with fake_hub() as hub:
        done = upload(place, "sent", hub.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert (hub.repos, hub.url in done.stdout) == ({"me/net": True}, True)
        files = hub.files["me/net"]
        again = upload(place, "again", hub.url, "export.hub.private=false")
        assert again.returncode == 0
        assert "a commit of a repository that existed: its visibility is unchanged" in " ".join(again.stdout.split())
    assert {"model.safetensors", "config.json", "README.md", "model.json"} <= files.keys()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    weights = [
        network.state_dict() for network in (package.load(tmp_path / "model.safetensors"), package.load(place / "run"))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    row = json.loads((place / "sent" / "summary.json").read_text())["artifacts"]["hub"]
    assert (row["ok"], row["published"]["repo"], row["published"]["existed"]) == (True, "me/net", False)
    left = [path for path in place.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert (left, TOKEN in done.stdout + done.stderr) == ([], False)


@pytest.mark.parametrize(
    ("name", "token", "says"),
    [
        ("none", None, "there is none: set HF_TOKEN to one with the right to write"),
        ("refused", "hf_another", "the hub refused the token (403): it needs the right to write to me"),
        ("away", TOKEN, "not uploaded: the hub cannot be reached"),
    ],
)
def test_what_is_not_uploaded_is_said_and_nothing_is_lost(place: Path, name: str, token: str | None, says: str) -> None:
    with fake_hub() as hub:
        done = upload(place, name, hub.url if name != "away" else "http://127.0.0.1:9", token=token)
    assert (done.returncode, says in done.stderr) == (5, True), done.stderr
    assert "hf_" not in done.stderr + done.stdout
    if name == "none":
        assert not (place / name / "exports").exists(), "it is said before any work"
        return
    assert f"upload it with: hf upload me/net {name}/exports/hub" in " ".join(done.stderr.split())
    assert summary(place / name)["artifacts"]["hub"]["ok"]
    assert (place / name / "exports" / "hub" / "model.safetensors").is_file()


def test_a_repository_is_an_owner_and_a_name(place: Path) -> None:
    done = run_here(["ckpt=run", "export=hub", "export.hub.repo=net"], place)
    assert (done.code, "allowed: owner/name of a repository of huggingface.co" in done.err) == (2, True), done.err
