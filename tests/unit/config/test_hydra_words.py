"""Words of Hydra's plugins for sweeps: ours that mean the same, or an answer that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.base.errors import ConfigError
from nnrun.cli import compose
from nnrun.config.catalogue import Catalogue
from nnrun.config.folders import options
from nnrun.config.hydra_words import in_our_words, our_names
from nnrun.config.overrides import parse_all


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("hydra/sweeper=optuna hydra.sweeper.n_trials=30", "sweep=tpe sweep.trials=30"),
        ("hydra/sweeper=optuna hydra/sweeper/sampler=random", "sweep=random"),
        ("hydra.sweeper.n_jobs=4", "sweep.parallel=4"),
        ("hydra/launcher=joblib hydra.launcher.n_jobs=-1", "launch=local sweep.parallel=auto"),
        ("hydra/launcher=basic", "launch=local sweep.parallel=1"),
        (
            "hydra/launcher=submitit_slurm hydra.launcher.timeout_min=30 +hydra.launcher.partition=gpu",
            "launch=slurm launch.minutes=30 launch.partition=gpu",
        ),
        ("hydra.launcher.qos=low", "+launch.additional.qos=low"),
        ("hydra.sweeper.params.optimizer.lr=interval(1e-4,1e-1)", "optimizer.lr=interval(1e-4,1e-1)"),
        ("hydra.sweeper.params.model='choice(mlp,cnn)'", "model=choice(mlp,cnn)"),
        ("hydra.sweep.dir=s model=mlp seed", "hydra.sweep.dir=s model=mlp seed"),
    ],
)
def test_hydras_words_become_ours(words: str, ours: str) -> None:
    assert in_our_words(words.split(" ")) == (ours.split(" "), [])


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("hydra/sweeper=ax", "hydra/sweeper=ax has no counterpart here; choose one of sweep=grid, sweep=tpe"),
        ("hydra/sweeper/sampler=nsgaii", "choose one of sweep=grid, sweep=random, sweep=tpe, sweep=cmaes"),
        ("hydra/launcher=ray", "choose one of launch=local, launch=slurm"),
        ("hydra.sweeper.direction=maximize", "early_stopping.mode="),
        ("hydra.sweeper.storage=sqlite:///s.db", "nnrun -m resume=FOLDER"),
        ("hydra.sweeper.params={lr:1}", "name each setting with its values"),
        ("hydra.mode=MULTIRUN", "nnrun -m"),
        ("hydra.sweeper.n_trial=3", "did you mean 'hydra.sweeper.n_trials'?"),
        ("hydra.job.env_set.X=1", "nnrun takes only hydra.run.dir and hydra.sweep.dir"),
    ],
)
def test_what_has_no_counterpart_is_answered(word: str, answer: str) -> None:
    typed, (problem,) = parse_all([word, "model=mlp"])
    assert [item.word for item in typed] == ["model=mlp"]
    assert answer in problem.text


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("defaults: [override /hydra/sweeper: optuna]", "write 'override /sweep: tpe' in its place"),
        ("defaults: [override /hydra/launcher: submitit_slurm]", "write 'override /launch: slurm' in its place"),
        ("defaults: [override /hydra/sweeper: ax]", "hydra/sweeper=ax has no counterpart here; choose one of sweep="),
        ("hydra: {sweeper: {params: {optimizer.lr: 'interval(0,1)'}}}", "sweep.space of an experiment"),
        ("hydra: {mode: MULTIRUN}", "hydra.mode in a YAML file is not used here: a sweep is started with nnrun -m"),
    ],
)
def test_those_of_a_yaml_file_are_answered(content: str, answer: str, tmp_path: Path) -> None:
    """They were ignored, or an error of Hydra's that names no way out."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "search.yaml").write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(ConfigError) as raised:
        compose(["experiment=search"], [tmp_path])
    assert answer in str(raised.value)


def test_the_words_that_they_become_exist() -> None:
    """A setting or an option that is renamed, or does not exist yet, would be found here."""
    lost = []
    for name in our_names():
        group, _, option = name.partition("=")
        if option in options(group, ()) if option else name in Catalogue().every:
            continue
        lost.append(name)
    assert lost == []
