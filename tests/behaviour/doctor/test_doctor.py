"""`task=doctor`: what it says of a machine on which all, or not all, works. Its campaigns have tests of their own."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
import torch

from nnrun.tasks.doctor import campaigns, machine
from nnrun.tasks.doctor import examine as examine_module
from nnrun.tasks.doctor.campaign import Broken, Result, counting
from nnrun.tasks.doctor.campaigns import Campaign
from nnrun.tasks.doctor.specimen import hear
from support.command_line import run_here


def keeps(_arena, count):
    return Result("keeps", tried=count)


def breaks(_arena, count):
    result = Result("breaks")
    for _ in range(count):
        with counting(result, "now"):
            raise Broken("lost", "it is gone")
    return result


def cannot(_arena, _count):
    return Result("cannot", notes=["no such thing here"])


def waits(_arena, _count):
    os.kill(os.getpid(), signal.SIGTERM)


def runs(arena, _count):
    """A run inside of it hears the signal, and ends as it should."""
    hear(arena.folder, lambda: 128 + signal.SIGINT)


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """Run it with these campaigns instead of its own; nothing may be left in the folder."""
    monkeypatch.setattr(campaigns, "Nursery", contextlib.nullcontext)
    monkeypatch.setattr(examine_module, "_EXPORT", [*examine_module._EXPORT[:-2], "export=none", "hydra.run.dir=run"])

    def with_campaigns(*functions):
        table = [Campaign(function, f"what {function.__name__}", 2, 0) for function in functions]
        monkeypatch.setattr(campaigns, "CAMPAIGNS", table)
        outcome = run_here(["task=doctor"], tmp_path)
        assert outcome.created == []
        return outcome

    return with_campaigns


def test_a_machine_on_which_all_works(examine):
    outcome = examine(keeps, cannot)
    assert (outcome.code, outcome.err) == (0, "")
    said = " ".join(outcome.out.split())
    for row in ("a run with export=onnx works trained", "what keeps works 2 tried", "fp32 on cpu works loss"):
        assert row in said
    assert "what cannot not here not tried: no such thing here" in said
    assert "all that is here works" in outcome.out


def test_a_promise_that_is_broken_here(examine):
    outcome = examine(keeps, breaks)
    assert (outcome.code, outcome.err) == (5, "nnrun: what breaks: fails on this machine; the table says how\n")
    said = " ".join(outcome.out.split())
    assert "what breaks FAILS breaks: 2 tried; 2 lost, 0 silently different" in said
    assert "now: it is gone" in said


@pytest.mark.parametrize(("campaign", "code"), [(waits, 143), (runs, 130)])
def test_a_signal_ends_it_at_once(examine, campaign, code):
    outcome = examine(campaign, breaks)
    assert (outcome.code, outcome.err) == (code, "nnrun: interrupted\n")


def test_settings_beside_it_are_refused(tmp_path):
    outcome = run_here(["task=doctor", "model=mlp", "seed=1"], tmp_path)
    assert (outcome.code, "model, seed would have no effect with task=doctor" in outcome.err) == (2, True)


CPU = torch.device("cpu")


def test_a_number_format_in_which_updates_are_left_out_does_not_work(monkeypatch):
    """Negative control: where all are made, it does."""
    assert machine._precision(CPU, "bf16").state == machine.WORKS
    monkeypatch.setattr(machine, "_train_a_little", lambda _, name: (1.0, 5 if name == "fp32" else 4))
    found = machine._precision(CPU, "bf16")
    assert found.state == machine.FAILS
    assert "only 4 of 5 updates were made" in found.detail


def test_a_device_that_fails_in_fp32_is_a_row_and_no_crash(monkeypatch):
    def fails(*_):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(machine, "_train_a_little", fails)
    rows = machine._precisions()
    assert [row.state for row in rows if row.what in ("fp32 on cpu", "bf16 on cpu")] == [machine.FAILS] * 2
