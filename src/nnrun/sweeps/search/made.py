"""Make the search of a sweep from its settings; what is wrong with them is said before anything is written."""

from __future__ import annotations

from nnrun.base.errors import ConfigError
from nnrun.base.foreign_errors import check_package
from nnrun.config.compose import compose_config
from nnrun.config.composed import Composed
from nnrun.config.monitor import monitored
from nnrun.sweeps.places import SearchSetup
from nnrun.sweeps.search.draws import Proposer, RandomDraws
from nnrun.sweeps.search.grammar import space_of
from nnrun.sweeps.search.prune import make_pruner
from nnrun.sweeps.search.searching import Aim, Searcher
from nnrun.sweeps.search.space import Space

# The packages of each method, by the names that are imported; all are in the extra `sweep`.
_PACKAGES = {"tpe": ("optuna",), "gp": ("optuna", "scipy"), "cmaes": ("optuna", "cmaes")}
# Without sweep.trials and sweep.minutes.
_NUM_TRIALS = 20
# How many draws are composed until one has a config that is right.
_PROBES = 8


def make_search(setup: SearchSetup) -> Searcher:
    """Return the search that the settings describe.

    Raises ConfigError where nothing of the space can be trained, ResourceError where a package is missing.
    """
    method, own = setup.settings.method, setup.own_settings
    for package in _PACKAGES.get(method, ()):
        check_package(f"sweep={method}", package)
    space = space_of(setup.axes, setup.own, setup.rules.ranges)
    seed = setup.seed if own["seed"] is None else int(own["seed"])
    draws = RandomDraws(space, seed)
    composed = _probe(space, draws, setup)
    tree = composed.resolved()
    _, mode = monitored(tree, setup.rules.known.metrics)
    if mode == "auto":
        monitor = tree["early_stopping"]["monitor"]
        raise ConfigError(
            f"whether lower or higher values of {monitor} are better is not known: set early_stopping.mode"
        )
    trainer = tree["trainer"]
    epochs = trainer["epochs"] if trainer["max_steps"] is None and trainer["max_minutes"] is None else None
    trials = _NUM_TRIALS if own["trials"] is None and own["minutes"] is None else own["trials"]
    aim = Aim(mode == "min", trials, epochs, own["minutes"], trainer)
    pruner = make_pruner(own["prune"], epochs)
    if method == "random":
        return Searcher(space, draws, pruner, aim)
    from nnrun.sweeps.search.journal import Journal  # noqa: PLC0415 - of an extra
    from nnrun.sweeps.search.model_based import ModelBased  # noqa: PLC0415

    proposer: Proposer = ModelBased(method, space, seed, own["startup"])
    return Searcher(space, proposer, pruner, aim, Journal(space, is_less_better=aim.is_less_better))


def _probe(space: Space, draws: RandomDraws, setup: SearchSetup) -> Composed:
    """Return the config of a point of the space; raise ConfigError if none of several has one."""
    first: ConfigError | None = None
    for number in range(_PROBES):
        chosen = space.words(draws.propose((), number, 0)[0])
        try:
            return compose_config(setup.words_with(chosen), setup.own, setup.rules)
        except ConfigError as error:
            first = first or error
    assert first is not None, "there are probes"
    raise first
