"""The second tier of checks changes nothing of the process; what a job sets for all of it is set apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nnrun.assembly.preflight import check_job, prepare
from nnrun.base.errors import ConfigError
from nnrun.cli import compose


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    was, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(was)
    torch.set_num_threads(threads)


def test_a_job_is_checked_without_a_change_to_the_process_and_prepared_with_one() -> None:
    composed = compose(["trainer.deterministic=true", "trainer.device=cpu", "trainer.epochs=0"])
    torch.use_deterministic_algorithms(False)
    job = check_job(composed)
    assert not torch.are_deterministic_algorithms_enabled()
    assert (job.trains, str(job.device), job.task.name) == (True, "cpu", "train")
    assert job.notes == ("trainer.epochs=0: the network is evaluated without training",)
    assert prepare(composed).notes == job.notes
    assert torch.are_deterministic_algorithms_enabled()


def test_what_is_wrong_is_found_before_the_process_is_changed() -> None:
    composed = compose(["trainer.deterministic=true", "model._target_=nnrun.components.models.nothing.Nothing"])
    torch.use_deterministic_algorithms(False)
    with pytest.raises(ConfigError, match="nothing"):
        prepare(composed)
    assert not torch.are_deterministic_algorithms_enabled()
