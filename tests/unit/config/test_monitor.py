"""What may be watched, and which way is better: known without torch, and in step with what the problems measure."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.assembly.allowed import import_target
from nnrun.base.targets import Targets
from nnrun.cli import collect_rules, compose
from nnrun.config.monitor import check_monitor, monitored, natural_mode

METRICS = collect_rules().known.metrics
OURS = "nnrun.components.problems.classification.Classification"
OWN = "mine.Problem"


def tree(monitor: object, mode: str = "auto", problem: str = OURS, **added: object) -> dict[str, Any]:
    return {
        "early_stopping": {"monitor": monitor, "mode": mode},
        "problem": {"_target_": problem},
        "metric": added,
    }


@pytest.mark.parametrize("problem", METRICS)
def test_what_is_known_of_a_problem_is_what_it_measures(problem: str) -> None:
    """A metric that is added to a problem and not to the table could not be watched."""
    kind = collect_rules().known.data_kinds[problem][0]
    # Top-5 accuracy is measured of more than five classes.
    built = import_target("problem", problem)(Targets(kind, tuple("abcdef")))
    assert dict(built.eval_metric.higher_is_better) == dict(METRICS[problem])
    assert METRICS[problem][built.headline] is True, "of the metric to quote more is better"


@pytest.mark.parametrize(
    ("monitor", "known", "mode"),
    [
        ("valid/loss", {}, "min"),
        ("valid/mae", {"mae": False}, "min"),
        ("valid/f1", {"f1": True}, "max"),
        ("valid/mine", {"f1": True}, "auto"),
        ("valid/mine_loss", {}, "auto"),
    ],
)
def test_the_way_follows_from_the_metric_and_not_from_its_name(monitor: str, known: dict[str, bool], mode: str) -> None:
    assert natural_mode(monitor, known) == mode


def test_a_typed_way_is_kept_and_what_a_file_leaves_out_is_the_loss() -> None:
    assert monitored(tree("valid/mine", "max"), METRICS) == ("valid/mine", "max")
    assert monitored({"early_stopping": {}}, METRICS) == ("valid/loss", "min")
    assert monitored({"early_stopping": None}, METRICS) == ("valid/loss", "min")


@pytest.mark.parametrize("monitor", ["valid/accuracy", "valid/loss", "valid/mine", "valid/mine_worst", None, 3])
def test_what_is_measured_may_be_watched(monitor: object) -> None:
    assert list(check_monitor(tree(monitor, mine={}), (), METRICS)) == []


@pytest.mark.parametrize("monitor", ["accuracy", "test/accuracy", "valid/acc", "valid/mine", "valid/minefield"])
def test_what_nothing_measures_is_refused(monitor: str) -> None:
    added = {} if monitor == "valid/mine" else {"mine": {}}
    (complaint,) = check_monitor(tree(monitor, **added), (), METRICS)
    assert complaint.key == "early_stopping.monitor"
    assert complaint.text.startswith(f"early_stopping.monitor is {monitor!r}; allowed: valid/loss, valid/accuracy")
    assert complaint.text.partition("; did you mean")[0].endswith("valid/mine") == bool(added)


def test_a_problem_of_one_s_own_may_measure_anything() -> None:
    assert list(check_monitor(tree("valid/anything", problem=OWN), (), METRICS)) == []
    (complaint,) = check_monitor(tree("test/anything", problem=OWN), (), METRICS)
    assert "valid/loss, and other metrics of the problem" in complaint.text


def test_what_one_of_the_problems_that_may_be_meant_measures_may_be_watched() -> None:
    metrics = {"a": {"x": True}, "b": {"y": False}}
    assert list(check_monitor(tree("valid/y", problem="a"), ("a", "b"), metrics)) == []
    assert len(list(check_monitor(tree("valid/y", problem="a"), (), metrics))) == 1


def test_a_way_that_would_choose_the_worst_weights_is_refused() -> None:
    (complaint,) = check_monitor(tree("valid/accuracy", "min"), (), METRICS)
    assert complaint.text == (
        "early_stopping.mode=min would select the worst weights by valid/accuracy; leave it at auto"
    )
    assert list(check_monitor(tree("valid/accuracy", "max"), (), METRICS)) == []
    assert list(check_monitor(tree("valid/mine", "min", mine={}), (), METRICS)) == [], "whose way nobody knows"


def test_the_checks_of_a_config_know_the_metrics() -> None:
    with pytest.raises(Exception, match=r"early_stopping\.monitor is 'valid/acc'"):
        compose(["early_stopping.monitor=valid/acc"])
