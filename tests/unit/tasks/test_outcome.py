"""How a run ends: out-of-memory names the size of the images first, where that can be chosen."""

from __future__ import annotations

import pytest
import torch

from nnrun.base.errors import OutOfMemory
from nnrun.base.foreign_errors import of_the_machine
from nnrun.cli import compose
from nnrun.config.schema import RunSettings, from_mapping
from nnrun.core.evaluate import explaining_memory
from nnrun.tasks.outcome import advised
from nnrun.tasks.train.memory_advice import out_of_memory


def settings(*words: str) -> RunSettings:
    return from_mapping(RunSettings, compose(words).resolved())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data=folder"], "data.image_size=112"),
        (["data=folder", "data.image_size=64"], "data.image_size=32"),
        (["data=folder", "data.image_size=[640,480]"], "data.image_size=[320,240]"),
    ],
)
def test_smaller_images_are_the_first_thing_to_try(words, expected) -> None:
    chosen = settings(*words)
    message = str(advised(out_of_memory(chosen, "cpu"), chosen))
    assert message.startswith("out of memory on cpu with data.batch_size=64; the last checkpoint is intact: try ")
    assert f": try smaller images, {expected}, or data.batch_size=32 trainer.accumulate=2, " in message


def test_each_way_to_run_out_of_memory_takes_the_advice() -> None:
    chosen = settings("data=folder")
    found = [of_the_machine(MemoryError()), of_the_machine(RuntimeError("DefaultCPUAllocator: can't allocate memory"))]
    with pytest.raises(OutOfMemory) as caught, explaining_memory(torch.device("cpu"), 500):
        raise torch.OutOfMemoryError("CUDA out of memory")
    for error in (*found, caught.value):
        assert isinstance(error, OutOfMemory)
        assert ": try smaller images, data.image_size=112, or " in str(advised(error, chosen))
    assert "data.eval_batch_size=250" in str(caught.value)


def test_data_without_a_size_to_choose_are_left_out_of_it() -> None:
    chosen = settings("data=digits")
    assert "image" not in str(advised(out_of_memory(chosen, "cpu"), chosen))
