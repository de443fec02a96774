"""Checkpoints: whole or not at all, named by their bytes, kept by the rules, refused when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import pickle

import pytest
import torch
from torch import nn

import nnrun.base.files
from nnrun.base.errors import ArtifactError, ResourceError
from nnrun.base.files import DurableFile
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.folder import Abandoned, CheckpointFolder, load_weights
from nnrun.checkpoints.host_copy import canonical
from nnrun.checkpoints.locate import Located, locate
from nnrun.checkpoints.manifest import read_manifest
from nnrun.checkpoints.read import read_saved


def payload(value: float = 1.0) -> dict:
    network = nn.Linear(3, 2)
    nn.init.constant_(network.weight, value)
    nn.init.zeros_(network.bias)
    return {"model": network.state_dict(), "config": {"seed": 0}, "training": {"progress": {"step": 1}}}


def names(folder: CheckpointFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def steps(folder: CheckpointFolder) -> list[int]:
    return [entry.step for entry in folder.manifest.files]


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "run", keep_last=2)


def test_the_name_states_the_step_and_the_digits_of_the_files_sha256(folder):
    path = folder.save(payload(), step=938, is_best=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"step-00000938-{digest[:8]}.ckpt"
    written = json.loads((folder.path / "manifest.json").read_text())
    assert len(written.pop("sha256")) == 64
    assert written == {
        "schema": 1,
        "best": path.name,
        "last": path.name,
        "files": [{"name": path.name, "sha256": digest, "bytes": path.stat().st_size, "step": 938, "schema": 3}],
    }


def test_plain_torch_loads_it_and_the_weights_fit_a_bare_network(folder):
    path = folder.save(payload(3.0), step=1, is_best=False)
    loaded = torch.load(path, weights_only=True)
    network = nn.Linear(3, 2)
    network.load_state_dict(loaded["model"], strict=True)
    assert network.weight.detach().unique().tolist() == [3.0]
    assert loaded["schema"] == 3


def test_rotation_keeps_the_best_and_the_two_newest(folder):
    for step, is_best in enumerate([False, True, False, False, False], 1):
        folder.save(payload(step), step, is_best=is_best)
    assert steps(folder) == [2, 4, 5]
    assert names(folder) == {entry.name for entry in folder.manifest.files} | {"manifest.json"}
    folder.save(payload(6), 6, is_best=True)
    assert steps(folder) == [5, 6]
    assert locate(folder.path.parent, "best").path.name.startswith("step-00000006")


def test_keep_last_keeps_more(tmp_path):
    folder = CheckpointFolder(tmp_path, keep_last=4)
    for step in range(1, 8):
        folder.save(payload(step), step, is_best=step == 1)
    assert steps(folder) == [1, 4, 5, 6, 7]


def test_a_folder_opened_again_goes_on_from_its_manifest(folder):
    for step in (1, 2, 3):
        folder.save(payload(step), step, is_best=step == 1)
    again = CheckpointFolder(folder.path.parent, keep_last=2)
    assert again.manifest == folder.manifest
    again.save(payload(4), 4, is_best=False)
    assert steps(again) == [1, 3, 4]


def test_the_same_state_saved_twice_is_one_file(folder):
    one = folder.save(payload(), 5, is_best=True)
    two = folder.save(payload(), 5, is_best=False)
    assert one == two
    assert steps(folder) == [5]
    assert folder.manifest.best == one.name


def test_a_damaged_newest_does_not_push_out_a_whole_one(folder):
    """After a fallback, the file that was passed over counts as none of the newest."""
    for step in (1, 2, 3):
        folder.save(payload(step), step, is_best=step == 1)
    damaged = folder.path / folder.manifest.files[-1].name
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = CheckpointFolder(folder.path.parent, keep_last=2)
    again.save(payload(4), 4, is_best=False)
    assert steps(again) == [1, 2, 4]
    for entry in again.manifest.files:
        locate(again.path / entry.name, "best")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at_commit", [1, 2])
def test_a_kill_before_the_manifest_is_written_leaves_the_old_state(folder, monkeypatch, at_commit):
    """Of a save's two renames, the checkpoint's and the manifest's, the second is what makes it count."""
    old = [folder.save(payload(step), step, is_best=step == 1) for step in (1, 2, 3)]
    manifest = (folder.path / "manifest.json").read_bytes()
    commits = 0
    original = DurableFile.commit

    def commit(file, name):
        nonlocal commits
        commits += 1
        if commits == at_commit:
            raise Killed
        return original(file, name)

    monkeypatch.setattr(DurableFile, "commit", commit)
    with pytest.raises(Killed):
        folder.save(payload(4), 4, is_best=True)
    monkeypatch.undo()
    assert (folder.path / "manifest.json").read_bytes() == manifest
    assert all(path.is_file() for path in (old[0], old[1], old[2]))
    assert not list(folder.path.glob(".*")), "no temporary is left"
    assert locate(folder.path.parent, "last").path == old[2]
    assert locate(folder.path.parent, "best").path == old[0]
    again = CheckpointFolder(folder.path.parent, keep_last=2)
    again.save(payload(4), 4, is_best=True)
    assert steps(again) == [3, 4]


def test_what_a_killed_process_left_half_written_is_swept(folder):
    folder.save(payload(), 1, is_best=True)
    leftover = folder.path / ".abc123.tmp"
    leftover.write_bytes(b"half")
    assert CheckpointFolder(folder.path.parent, 2).manifest == folder.manifest
    assert not leftover.exists()


def test_a_full_disk_leaves_the_old_checkpoints_and_no_temporary(folder, monkeypatch):
    old = folder.save(payload(), 1, is_best=True)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nnrun.base.files.os, "fsync", full)
    advice = r"free some space, then run the command again \([\d,]+ bytes are free\)"
    with pytest.raises(ResourceError, match=rf"step-00000002 \(32 bytes\): the disk is full; {advice}"):
        folder.save(payload(2), 2, is_best=True)
    monkeypatch.undo()
    assert names(folder) == {old.name, "manifest.json"}
    assert locate(folder.path.parent, "best").path == old


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[: len(data) // 2], r"is damaged: .* bytes, but the manifest says"),
        (flip, "is damaged: its sha256 differs from the one that was saved"),
        (lambda data: data[:-200] + bytes(200), "is damaged: its sha256"),
    ],
)
@pytest.mark.parametrize("travels_alone", [False, True])
def test_damage_is_found_before_anything_is_read(folder, tmp_path, damage, words, travels_alone):
    path = folder.save(payload(), 7, is_best=True)
    if travels_alone:
        path = path.rename(tmp_path / path.name)
        words = words.replace(r": .* bytes, but the manifest says", ": its sha256")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=words) as caught:
        locate(path, "best")
    assert path.name in str(caught.value)
    if not travels_alone:
        with pytest.raises(ArtifactError, match=words):
            locate(folder.path.parent, "best")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(100), pickle.dumps({"model": {}}, 2)])
def test_what_torch_cannot_read_is_an_error_with_words(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"x.ckpt is (not a checkpoint of nnrun|a bare pickle)"):
        read_saved(Located(OpenFile(path), None))


def test_equal_payloads_are_equal_bytes_whoever_owns_their_texts(folder, tmp_path):
    """Negative control: saved as they are, the two differ, since a pickle tells which texts are one object."""

    def fresh(text: str) -> str:
        return "".join(list(text))

    key = fresh("momentum")
    shared = {"a": {key: [1, 2]}, "b": {key: [1, 2]}, "names": (key, key)}
    apart = {
        "a": {fresh("momentum"): [1, 2]},
        "b": {fresh("momentum"): [1, 2]},
        "names": tuple(fresh("momentum") for _ in "ab"),
    }
    assert shared == apart
    assert pickle.dumps(shared) != pickle.dumps(apart)
    assert pickle.dumps(canonical(shared)) == pickle.dumps(canonical(apart))
    one = folder.save({"model": {}, "config": shared}, 1, is_best=False)
    two = CheckpointFolder(tmp_path / "other", 2).save({"model": {}, "config": apart}, 1, is_best=False)
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_list_that_stands_twice_is_written_as_two_equal_ones(folder):
    once = [1, 2]
    assert pickle.dumps(canonical([once, once])) == pickle.dumps(canonical([[1, 2], [1, 2]]))


def test_a_save_that_is_abandoned_comes_to_nothing_wherever_it_is(folder, monkeypatch):
    """In the midst of its bytes, and before it gets its name; what was saved before stays."""
    folder.save(payload(), 1, is_best=True)
    before = folder.manifest, names(folder)
    original = os.fsync

    def fsync(descriptor):
        original(descriptor)
        folder.abandon()

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        with pytest.raises((Abandoned, RuntimeError)):
            folder.save(payload(), 2, is_best=True)
    monkeypatch.undo()
    assert (folder.manifest, names(folder)) == before
    assert read_manifest(folder.path) == folder.manifest


def test_weights_of_another_network_are_refused_with_the_first_mismatches(tmp_path):
    wide, narrow = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)]), nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ArtifactError, match=r"w.ckpt does not fit the network \(8 mismatches\)") as caught:
        load_weights(narrow, wide.state_dict(), tmp_path / "w.ckpt")
    assert "1.weight is not in this network" in str(caught.value)
    assert "and 3 more" in str(caught.value)
    with pytest.raises(ArtifactError, match=r"1.weight is missing"):
        load_weights(wide, narrow.state_dict(), tmp_path / "w.ckpt")
    with pytest.raises(ArtifactError, match=r"0.weight is \(3, 3\), but the network needs \(2, 3\)"):
        load_weights(narrow, wide[:1].state_dict(), tmp_path / "w.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_and_not_loaded(tmp_path, value):
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights["weight"][1, 1] = value
    with pytest.raises(ArtifactError, match="holds NaN or infinite weights: weight"):
        load_weights(network, weights, tmp_path / "w.ckpt")
    assert torch.equal(network.weight, before)


def test_a_manifest_that_is_damaged_is_an_error_and_stays_as_it_is(folder):
    folder.save(payload(), 1, is_best=True)
    path = folder.path / "manifest.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        CheckpointFolder(folder.path.parent, 2)
    assert len(path.read_text()) == 50
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        read_manifest(folder.path)
