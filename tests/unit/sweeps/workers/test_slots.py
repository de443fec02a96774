"""How many jobs run at once, with how many threads, and on which device: nothing here needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.sweeps.workers import slots
from nnrun.sweeps.workers.slots import Needs, Slots, choose_slots, visible_gpus

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "parallel", "num_jobs", "told", "expected"),
    [
        (8, "auto", 16, None, (8, 1)),
        (8, "auto", 3, None, (3, 2)),
        (8, "auto", 1, None, (1, 8)),
        (8, "auto", 16, "4", (2, 4)),
        (8, "auto", 16, "16", (1, 16)),
        (8, 2, 16, None, (2, 4)),
        (2, 5, 16, None, (5, 1)),
        (2, 5, 16, "2", (5, 2)),
    ],
)
def test_cores_are_divided_among_the_jobs(cores, parallel, num_jobs, told, expected, monkeypatch) -> None:  # noqa: PLR0913, PLR0917
    monkeypatch.setattr(slots, "num_cores", lambda: cores)
    monkeypatch.setattr(slots, "available_bytes", lambda: 64 * GIB)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    chosen = choose_slots(parallel, 1, Needs(num_jobs))
    assert (chosen.number, chosen.threads) == expected


def test_where_memory_is_short_fewer_jobs_run_with_the_same_number_of_threads(monkeypatch) -> None:
    monkeypatch.setattr(slots, "num_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(slots, "available_bytes", lambda: 2 * GIB)
    chosen = choose_slots("auto", 1, Needs(16))
    assert (chosen.number, chosen.threads) == (3, 1)
    monkeypatch.setattr(slots, "num_memory_kills", lambda: 99)
    assert (chosen.ran_short(), chosen.ran_short()) == (True, False)
    for _ in range(5):
        chosen.run_less()
    assert chosen.number == 1


def test_each_gpu_has_a_job_and_more_once_one_has_shown_how_little_it_takes(monkeypatch) -> None:
    monkeypatch.setattr(slots, "num_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["0", "GPU-1a"])
    one_each = choose_slots("auto", 1, Needs(16))
    assert (one_each.number, one_each.threads, [one_each.take() for _ in range(2)]) == (2, 4, ["0", "GPU-1a"])
    one_each.give("GPU-1a")
    assert one_each.take() == "GPU-1a"
    assert one_each.environment("GPU-1a") == {"CUDA_VISIBLE_DEVICES": "GPU-1a", "OMP_NUM_THREADS": "4"}
    one_each.learn(GIB, 80 * GIB)
    assert one_each.number == 2, "one was asked for"
    measured = choose_slots("auto", "auto", Needs(16))
    assert (measured.number, measured.take()) == (2, "0")
    measured.learn(40 * GIB, 80 * GIB)
    assert measured.number == 2, "two do not fit"
    measured.learn(20 * GIB, 80 * GIB)
    assert measured.number == 6
    measured.learn(GIB, 80 * GIB)
    assert measured.number == 8, "a core for each job"
    measured.run_less()
    measured.learn(GIB, 80 * GIB)
    assert measured.number == 6, "what ran short is not tried again"
    shared = choose_slots("auto", 3, Needs(16))
    assert (shared.number, [shared.take() for _ in range(4)]) == (6, ["0", "GPU-1a"] * 2)
    alone = choose_slots(
        "auto", 1, Needs.of(16, [{"device": "cuda:1", "threads": 3}, {"device": "cuda:1", "threads": "auto"}])
    )
    assert (alone.number, alone.threads, alone.take()) == (1, 3, None), "the number is that of all GPUs"
    assert choose_slots("auto", 1, Needs.of(16, [{"device": "cpu", "threads": "auto"}])).number == 8


@pytest.mark.parametrize(("named", "found"), [("", []), ("-1", []), ("2, GPU-ab", ["2", "GPU-ab"])])
def test_the_gpus_are_those_that_the_user_lets_be_seen(
    named: str, found: list[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(slots, "version", lambda _: "2.13.0")
    monkeypatch.setattr(slots, "_GPUS", tmp_path)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setattr(slots, "version", lambda _: "2.13.0+cpu")
    assert visible_gpus() == []
    monkeypatch.setattr(slots, "version", lambda _: "2.13.0")
    monkeypatch.setattr(slots, "_GPUS", tmp_path / "none")
    assert visible_gpus() == []


def test_cpu_slots_have_no_device() -> None:
    assert (Slots(2).take(), Slots(2).environment(None)) == (None, {})
