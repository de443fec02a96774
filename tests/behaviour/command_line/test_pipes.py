"""A pipe or a device in the place of a file is refused at once: opening it, or reading it, would wait for ever."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from nnrun.assembly.prediction.input_files import find_inputs
from nnrun.base.errors import ArtifactError, ConfigError, DataError
from nnrun.base.files import check_is_file
from nnrun.checkpoints.locate import locate
from nnrun.components.data.array_files import Array, find_arrays
from nnrun.components.data.array_pickle import read_array_pickle
from nnrun.components.data.csv_table import read_table
from nnrun.components.data.idx import open_idx
from nnrun.components.data.images import read_image
from nnrun.components.data.torchvision_sets import TorchvisionDataset
from nnrun.config.yaml_files import read_yaml, refuse_hidden_marks
from support.command_line import run_here
from support.pictures import SETTINGS, make_folder


@pytest.fixture(autouse=True)
def not_for_ever():
    """Whatever waits is ended, and the test fails."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


READERS = {
    "a picture": ("x.png", lambda path: read_image(path, 1, None)),
    "a table of idx": ("x-ubyte", open_idx),
    "a packed one": ("x.gz", open_idx),
    "arrays": ("x.npz", lambda path: find_arrays(str(path))),
    "an array": ("x.npy", lambda path: Array(path).open()),
    "a table of labels": ("labels.csv", read_table),
    "a pickle of arrays": ("batch_1", read_array_pickle),
    "an input": ("x.png", lambda path: find_inputs(str(path))),
    "a table of pixels": ("x.csv", lambda path: find_inputs(str(path))),
    "a checkpoint": ("x.ckpt", lambda path: locate(path, "best")),
    "a run": ("run", lambda path: locate(path, "last")),
    "settings": ("x.yaml", read_yaml),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_wherever_a_file_is_read(tmp_path, name):
    file, read = READERS[name]
    with pytest.raises((DataError, ArtifactError, ConfigError, OSError), match="is a pipe"):
        read(pipe(tmp_path / file))


def test_devices_and_sockets_are_refused_and_files_folders_and_links_to_them_are_not(tmp_path):
    with pytest.raises(DataError, match=r"input=/dev/zero cannot be read: it is a device.*input=- takes a list"):
        find_inputs("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="it is a socket"):
            check_is_file(tmp_path / "s")
    (tmp_path / "link").symlink_to(pipe(tmp_path / "p"))
    with pytest.raises(OSError, match="it is a pipe"):
        check_is_file(tmp_path / "link")
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "good").symlink_to(tmp_path / "x.npy")
    for path in (tmp_path, tmp_path / "x.npy", tmp_path / "good"):
        check_is_file(path)
    refuse_hidden_marks(tmp_path)


def test_a_set_of_torchvisions_is_not_opened_where_a_pipe_lies(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    pipe(tmp_path / "raw" / "labels")
    monkeypatch.setattr(torchvision.datasets, "SVHN", lambda **_: pytest.fail("it was opened"))
    with pytest.raises(DataError, match="raw/labels is a pipe or a device"):
        TorchvisionDataset("SVHN", str(tmp_path), False, {}, **SETTINGS).load()


def test_a_run_on_a_folder_with_a_pipe_names_it(tmp_path):
    root = make_folder(tmp_path / "pictures", {"train": 3, "test": 2})
    folder = next((root / "train").iterdir())
    pipe(folder / "x.png")
    outcome = run_here(["data=folder", f"data.root={root}", "model=mlp", "hydra.run.dir=r"], tmp_path)
    assert outcome.code == 3
    assert f"{folder.name}/x.png cannot be read: it is a pipe" in outcome.err
    outcome = run_here([f"init_from={pipe(tmp_path / 'w.pth')}", "hydra.run.dir=r2"], tmp_path)
    assert outcome.code == 4 and "w.pth is a pipe or a device" in outcome.err
