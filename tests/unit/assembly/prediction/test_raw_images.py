"""Files become the same batches, in their order, whether processes decode them, threads, or nobody else."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image

from nnrun.assembly.prediction import image_parts, raw_images
from nnrun.assembly.prediction.raw_images import Intake, of_files
from nnrun.base.errors import DataError
from nnrun.components.data.tally import Tally

NUMBER, BAD = 41, (0, 7, 8, 40)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for place in range(NUMBER):
        path = folder / f"{place:02}.png"
        if place in BAD:
            path.write_bytes(b"no image")
        else:
            Image.new("I;16" if place == 3 else "L", (5, 4), 9000 if place == 3 else place).save(path)
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("in_processes", [True, False])
@pytest.mark.parametrize("cores", [1, 3])
def test_batches_are_the_same_whoever_decodes(files, in_processes, cores, monkeypatch):
    monkeypatch.setattr(image_parts, "num_cores", lambda: cores)
    monkeypatch.setattr(image_parts, "_FILES_FOR_PROCESSES", 10)
    refused: list[str] = []
    tally = Tally(None)
    intake = Intake((1, 4, 5), 10)
    batches = list(of_files(files, intake, lambda error: refused.append(str(error)), tally, in_processes=in_processes))
    good = [place for place in range(NUMBER) if place not in BAD]
    assert [len(batch.names) for batch in batches] == [10, 10, 10, 7]
    assert [name for batch in batches for name in batch.names] == [files[place] for place in good]
    assert [number for batch in batches for number in batch.numbers] == [place + 1 for place in good]
    pixels = torch.cat([batch.inputs for batch in batches])
    assert pixels.shape == (37, 1, 4, 5)
    assert pixels[:, 0, 0, 0].tolist() == [35 if place == 3 else place for place in good]
    assert [Path(message.split()[0]).name for message in refused] == [f"{place:02}.png" for place in BAD]
    assert (tally.num_deep, tally.peak) == (1, 9000)


@pytest.mark.parametrize(("most_bytes", "sizes"), [(4 * 4 * 5 * 2, [2, 2, 1]), (1, [1] * 5)])
def test_large_images_come_in_smaller_batches(files, monkeypatch, most_bytes, sizes):
    monkeypatch.setattr(raw_images, "_BATCH_BYTES", most_bytes)
    batches = of_files(files[1:6], Intake((1, 4, 5), 10), print, Tally(None))
    assert [len(batch.names) for batch in batches] == sizes


def children() -> set[str]:
    """The processes that this one has started, also those that other tests have left."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    return {pid for pid, parent in pairs if parent == str(os.getpid())}


def test_the_first_bad_file_ends_it_and_no_process_stays(files, monkeypatch):
    before = children()
    monkeypatch.setattr(image_parts, "num_cores", lambda: 2)
    monkeypatch.setattr(image_parts, "_FILES_FOR_PROCESSES", 10)

    def refuse(error: DataError) -> None:
        raise error

    batches = of_files(files[1:], Intake((1, 4, 5), 2), refuse, Tally(None), in_processes=True)
    with closing(batches), pytest.raises(DataError, match=r"07\.png is not an image: unknown format"):
        list(batches)
    assert len(children()) <= len(before)


def test_few_files_are_decoded_without_processes(files, monkeypatch):
    """Negative control: with many, or with large ones, processes are started."""
    started: list[int] = []
    monkeypatch.setattr(image_parts, "num_cores", lambda: 2)
    monkeypatch.setattr(image_parts, "in_order", lambda *_: (started.append(1) for _ in range(1)))
    assert len(list(of_files(files[1:6], Intake((1, 4, 5), 2), print, Tally(None), in_processes=True))) == 3
    assert not started
    monkeypatch.setattr(image_parts, "_BYTES_FOR_PROCESSES", 100)
    with pytest.raises(AttributeError):  # nothing was decoded
        list(of_files(files[1:6], Intake((1, 4, 5), 2), print, Tally(None), in_processes=True))
    assert started
