"""The law that a run's own reader takes what the run writes: tried with names, settings and networks of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.files import sha256_of, write_json
from nnrun.base.open_file import OpenFile
from nnrun.base.targets import Targets
from nnrun.checkpoints.host_copy import canonical
from nnrun.checkpoints.locate import locate
from nnrun.checkpoints.model_card import CARD_NAME, FORMAT, SCHEMA, read_card
from nnrun.checkpoints.payload import MAX_CHARACTERS, MAX_NAMES
from nnrun.checkpoints.read import read_run
from nnrun.checkpoints.saveable import check_readable, plain_names, unsaveable
from support.command_line import run_here
from support.pictures import make_folder

# What hypothesis rarely finds by itself.
ODD = (
    "${price}",
    "\x1b]0;x\x07cat",
    "\ud800",
    "\udc80",
    "a\nb",
    "",
    "x" * (MAX_CHARACTERS + 1),
    "\u202e",
    "\x00",
    "=1",
    "[/]",
)
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(ODD)
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.sampled_from((2**63, -(2**64), 10**400))
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(), inner, max_size=3),
    max_leaves=8,
)
OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the checkpoint of a run holds."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["model=mlp", "model.hidden=4", "data.limit=60", "data.batch_size=20", "trainer.epochs=1", "export=none"]
    assert run_here([*words, "early_stopping=none", "trainer.progress=false", "hydra.run.dir=r"], folder).code == 0
    return torch.load(locate(folder / "r", "best").path, weights_only=True)


def reread(payload, path):
    """What the reader makes of what a run would write; it raises where it refuses that."""
    torch.save(canonical(payload), path)
    return read_run(locate(path, "best"))


@OFTEN
@given(names=st.lists(TEXTS, max_size=5, unique=True))
def test_names_of_classes_are_refused_before_a_training_or_read_after_it(trained, tmp_path, names):
    try:
        plain = plain_names(names, "mine")
    except DataError:
        assert any(len(name) > MAX_CHARACTERS for name in names) or len(set(names)) > 1
        return
    targets = Targets.classes(plain)
    assert reread(trained | {"targets": targets.to_plain()}, tmp_path / "x.ckpt").targets == targets
    assert plain_names(plain, "mine") == plain, "read again, the same data has the same classes"


@OFTEN
@given(tree=st.dictionaries(st.sampled_from(["root", "options", "a key"]), TREES, max_size=3))
def test_settings_are_refused_before_a_training_or_read_after_it(trained, tmp_path, tree):
    config = {**trained["config"], "data": trained["config"]["data"] | {"dataset": tree}}
    if problems := unsaveable(config):
        assert all(problem.key.startswith("data.dataset") for problem in problems), "the key is named"
        return
    assert reread(trained | {"config": config}, tmp_path / "x.ckpt").config == canonical(config)


REFUSED = {
    "a resolver": ("/data/${x}", "data.root is refused: '/data/${x}' contains"),
    "a control character": ("a\x1b", "data.root is refused: it has a string with control or invalid characters"),
    "a huge number": (2**70, "data.root is refused: it holds a number that is too large"),
    "bytes": ([b"x"], "data.root is refused: it holds a bytes"),
    "a key that is a number": ({1: 2}, "data.root is refused: one of its keys is not a string"),
    "too deep": (None, "nested too deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name):
    value, message = REFUSED[name]
    if value is None:
        value = []
        for _ in range(40):
            value = [value]
    (problem,) = unsaveable({"data": {"root": value, "name": "mine"}})
    assert message in problem.text
    assert unsaveable({"data": {"root": "/data/x $ {y}", "numbers": [math.inf, -(2**63) + 1]}}) == []


def test_names_that_a_file_cannot_hold_are_escaped_and_two_that_become_one_are_refused():
    assert plain_names(["${price}", "\x1b]0;x\x07cat", "a\nb", "\udc80"], "mine") == (
        ("${price}", r"\x1b]0;x\x07cat", "a\nb", r"\udc80")
    )
    with pytest.raises(DataError, match="two class names differ only in characters"):
        plain_names(["\x1b", r"\x1b"], "mine")
    for names, message in (
        (["x" * (MAX_CHARACTERS + 1), "y"], "a string of 10,001 characters"),
        (list(map(str, range(MAX_NAMES + 1))), "100,001 names"),
        (["x" * 9000 + str(number) for number in range(1000)], "the names of its 1,000 classes take"),
        ([0, 1], "the class name 0 is a int"),
    ):
        with pytest.raises(DataError, match=message):
            plain_names(names, "mine")


def test_the_most_names_fit_into_what_stands_beside_exported_weights(tmp_path, trained):
    names = plain_names([f"class {number:05}" for number in range(100_000)], "mine")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x")
    card = {"format": FORMAT, "version": SCHEMA, "sha256": sha256_of(weights), "class_names": list(names)}
    write_json(tmp_path / CARD_NAME, card | {key: trained[key] for key in ("config", "preprocessing")}, 1)
    assert read_card(OpenFile(weights)).targets.names == names


class Odd(nn.Module):
    def get_extra_state(self):
        return {"epoch": 3}


class Expanded(nn.Linear):
    """A network with a buffer whose elements share memory: torch itself saves it, but cannot load it."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("scale", torch.ones(1).expand(2))


NETWORKS = {
    "extra state": (Odd(), "has a dict under '_extra_state'"),
    "a sparse buffer": (None, "no checkpoint holds"),
    "a parameter called ESC": (nn.ParameterDict({"\x1b": nn.Parameter(torch.ones(1))}), "is malformed"),
    "no tensor at all": (nn.ReLU(), "is malformed"),
    "an expanded buffer": (Expanded(), r"'scale' is expanded: .* register a copy, made with .contiguous\(\)"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_whose_state_the_reader_refuses_is_refused_before_it_trains(trained, name):
    network, message = NETWORKS[name]
    if network is None:
        network = nn.Linear(2, 2)
        network.register_buffer("mask", torch.eye(2).to_sparse())
    check_readable(trained)
    with pytest.raises(ConfigError, match=message):
        check_readable(trained | {"model": network.state_dict()})
    with pytest.raises(ConfigError, match=r"trainer\.threads=4096"):
        check_readable(trained | {"threads": 5000})


def test_runs_on_classes_of_every_name_are_evaluated_resumed_and_predicted_with(tmp_path):
    """Two classes whose names a resolver, and a terminal, would act on: from a folder, and as labels of arrays."""
    names = ("${price}", "\x1b]0;pwned\x07cat", "${oc.env:HOME}")
    make_folder(tmp_path / "pictures", {"train": 5, "test": 3}, names)
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.array(names * 20))
    short = ["model=mlp", "model.hidden=4", "data.batch_size=5", "early_stopping=none", "trainer.progress=false"]
    for data, root in (("folder", "pictures"), ("arrays", "a.npz")):
        words = [*short, f"data={data}", f"data.root={root}", "trainer.epochs=1", "export=safetensors"]
        for more in (
            [*words, f"hydra.run.dir={data}"],
            [f"ckpt={data}"],
            [f"resume={data}", "trainer.epochs=2"],
            ["task=predict", f"ckpt={data}/exports/safetensors/model.safetensors", "input=pictures/test"],
        ):
            outcome = run_here(more, tmp_path)
            assert outcome.code == 0, outcome
            assert "\x1b" not in outcome.out + outcome.err
        assert set(read_run(locate(tmp_path / data, "last")).targets.names) == {
            "${price}",
            r"\x1b]0;pwned\x07cat",
            names[2],
        }
        assert "\x1b" not in (tmp_path / data / "run.log").read_text()


def test_a_folder_that_a_resolver_would_act_on_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "${HOME}").mkdir()
    outcome = run_here(["model=mlp", "data=folder", "data.root=pictures", "hydra.run.dir=r"], tmp_path / "${HOME}")
    assert outcome.code == 2
    assert (
        "data.root is refused: '" in outcome.err
        and "which would be interpolated" in outcome.err
        and "could not be resumed" in outcome.err
    )
    outcome = run_here(["model=mlp", "model.hidden=99999999999999999999", "hydra.run.dir=r2"], tmp_path)
    assert outcome.code == 2
    assert "model.hidden" in outcome.err and "Traceback" not in outcome.err
