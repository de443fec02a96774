"""What predictions depend on, beside scikit-learn; for classes, labels and values, empty cells and categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence, permutation_importance
from torch import Tensor, nn

from nnrun.assembly.alike_columns import groups_of
from nnrun.assembly.column_effects import ColumnEffects, Predictor, Rows, effects_of
from nnrun.base.targets import Targets
from nnrun.components.data.table.columns import Column, Feature
from nnrun.components.data.table.preprocessing import TablePreprocessing
from nnrun.components.problems.classification import Classification
from nnrun.components.problems.multilabel import Multilabel
from nnrun.components.problems.regression import Regression
from nnrun.core.seams.problem import Problem

NUMBER = 400
CITIES = ("Bern", "Oslo", "Rome")
COLUMNS = (
    Column("strong", "number", features=(Feature("strong"),)),
    Column("weak", "number", features=(Feature("weak"),)),
    Column("unused", "number", features=(Feature("unused"),)),
    Column("sold", "date", features=(Feature("sold"), Feature("sold.month"), Feature("sold.weekday"))),
    Column("city", "category", categories=CITIES),
)


@dataclass(frozen=True)
class Codes:
    """Give the network the coded rows as they are, with the columns of a table's preprocessing."""

    columns: tuple[Column, ...] = COLUMNS

    def __call__(self, raw: Any) -> Any:
        return raw

    def to_plain(self) -> dict[str, Any]:
        return {}


class Known(nn.Module):
    """3 strong + weak^2 + the year + 2 in Rome, of which an empty number is 0; one or several outputs of it."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, raw: dict[str, Tensor]) -> Tensor:
        numbers = raw["numbers"].nan_to_num(0.0)
        value = 3 * numbers[:, 0] + numbers[:, 1] ** 2 + numbers[:, 3] / 365 + 2 * (raw["categories"][:, 0] == 4)
        return torch.stack([(-1) ** place * (value - 4) for place in range(self.outputs)], 1)


def rows() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(NUMBER, 3, generator=random)
    days = torch.randint(0, 1000, (NUMBER,), generator=random).float()
    numbers = torch.cat([numbers, days[:, None], torch.zeros(NUMBER, 2)], 1)
    return {"numbers": numbers, "categories": torch.randint(2, 5, (NUMBER, 1), generator=random)}


def measured(problem: Problem, outputs: int, inputs: dict[str, Tensor], targets: Tensor, **more: Any) -> ColumnEffects:
    network = Predictor(Known(outputs).eval(), Codes(), problem, torch.device("cpu"), batch_size=96)
    columns = TablePreprocessing(COLUMNS).input_columns()
    return effects_of(network, columns, Rows(inputs, targets), NUMBER, 0, **more)


def values_of(inputs: dict[str, Tensor]) -> Tensor:
    return Known()(inputs) + torch.randn(NUMBER, 1, generator=torch.Generator().manual_seed(1)) / 4


class Estimator(RegressorMixin, BaseEstimator):
    """The same network as scikit-learn has it: a column of its own for each number, and the city's code last."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Estimator:
        self.fitted_ = True
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        codes = torch.from_numpy(x[:, -1:]).long()
        return Known()({"numbers": torch.from_numpy(x[:, :-1]).float(), "categories": codes}).numpy()[:, 0]


def test_importance_and_partial_dependence_are_those_of_scikit_learn() -> None:
    inputs = rows()
    targets = values_of(inputs)
    table = np.concatenate([inputs["numbers"].numpy(), inputs["categories"].numpy()], 1).astype(np.float64)
    estimator = Estimator().fit(table, targets.numpy())
    theirs = permutation_importance(estimator, table, targets.numpy()[:, 0], n_repeats=40, random_state=0)
    ours = measured(Regression(Targets.values(["y"])), 1, inputs, targets, repeats=40)
    by_name = {row["names"][0]: row for row in ours.importance}
    for name, place in {"strong": 0, "weak": 1, "unused": 2, "city": 6}.items():
        mean, deviation = theirs.importances_mean[place], theirs.importances_std[place]
        # Both draw their own shuffles.
        assert by_name[name]["mean"] == pytest.approx(mean, abs=4 * deviation * (2 / 40) ** 0.5 + 1e-9), name
        assert by_name[name]["deviation"] == pytest.approx(deviation, rel=0.5, abs=1e-9), name
    assert [row["names"][0] for row in ours.importance] == ["strong", "weak", "city", "sold", "unused"]
    assert by_name["unused"]["mean"] == 0 == by_name["unused"]["deviation"], "the network does not use it"
    curves = {curve["name"]: curve for curve in ours.curves}
    assert list(curves) == ["strong", "weak", "city", "sold"], "most important first, the one without effect left out"
    low, high = np.quantile(table[:, 0], (0.05, 0.95))
    assert curves["strong"]["x"] == pytest.approx(np.linspace(low, high, 20).tolist(), rel=1e-4)
    grid = {0: np.array(curves["strong"]["x"])}
    known = partial_dependence(estimator, table, [0], custom_values=grid, method="brute")
    assert curves["strong"]["series"]["y"] == pytest.approx(known["average"][0].tolist(), rel=1e-4)
    of_city = dict(zip(curves["city"]["x"], curves["city"]["series"]["y"], strict=True))
    assert of_city["Rome"] - of_city["Oslo"] == pytest.approx(2, abs=1e-4)
    assert of_city["Bern"] == pytest.approx(of_city["Oslo"], abs=1e-4)


def test_dates_move_with_all_their_parts() -> None:
    sold = TablePreprocessing(COLUMNS).input_columns()[3]
    cells = rows()["numbers"][:, 3:6]
    values, names = sold.settings(cells)
    assert values.shape == (20, 3) and names[0] < names[-1]
    day = np.datetime64(names[7])
    assert values[7, 1] == int(str(day)[5:7])
    assert values[7, 2] == day.item().isoweekday()
    only_hours = TablePreprocessing([Column("at", "date", features=(Feature("at.hour"),))]).input_columns()[0]
    assert only_hours.settings(cells[:, :1])[1] == [], "days that are all the same cannot be set"


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_classes_and_labels_and_empty_cells_are_measured(kind: str) -> None:
    inputs = rows()
    inputs["numbers"][::7, 0] = torch.nan
    inputs["categories"][:3] = torch.tensor([[0], [0], [1]])
    high = (Known()(inputs)[:, 0] > 0).long()
    if kind == "classes":
        problem, outputs, targets = Classification(Targets.classes(["high", "low"])), 2, 1 - high
    else:
        problem, outputs = Multilabel(Targets.labels(["high", "low", "never"])), 3
        targets = torch.stack([high, 1 - high, high], 1).float()
    found = measured(problem, outputs, inputs, targets)
    assert (found.metric, found.score, found.repeats) == (problem.headline, 1.0, 5)
    means = {row["names"][0]: row["mean"] for row in found.importance}
    assert means["strong"] > 0.2 and means["unused"] == 0
    curves = {curve["name"]: curve for curve in found.curves}
    # Of two classes one curve says both; labels have one each.
    assert list(curves["strong"]["series"]) == (["low"] if kind == "classes" else ["high", "low", "never"])
    assert not any(np.isnan(curves["strong"]["x"]))
    assert curves["strong"]["x"] == sorted(curves["strong"]["x"])
    assert set(curves["city"]["x"]) == {*CITIES, "(empty)", "(unknown)"}


def test_columns_that_say_the_same_are_measured_together() -> None:
    """Two columns that correlate a little, and categories of which one divides another: the negative controls."""
    random = torch.Generator().manual_seed(0)
    base, other = torch.randn(NUMBER, generator=random), torch.randn(NUMBER, generator=random)
    base[::50] = torch.nan
    codes = torch.randint(2, 5, (NUMBER,), generator=random)
    columns = TablePreprocessing(
        [
            *(Column(name, "number", features=(Feature(name),)) for name in ("feet", "apart", "little", "metres")),
            *(Column(name, "category", categories=CITIES) for name in ("city", "capital", "coarse")),
        ]
    ).input_columns()
    inputs = {
        "numbers": torch.stack([base, other, base + other, -base.exp()], 1),
        "categories": torch.stack([codes, 6 - codes, codes.clamp(max=3)], 1),
    }
    assert groups_of(columns, inputs) == [[0, 3], [4, 5]]

    class OfBoth(nn.Module):
        def forward(self, raw: dict[str, Tensor]) -> Tensor:
            return raw["numbers"][:, :1].nan_to_num(0.0) + raw["numbers"][:, 3:].nan_to_num(0.0).neg().log1p()

    problem = Regression(Targets.values(["y"]))
    predict = Predictor(OfBoth(), Codes(), problem, torch.device("cpu"), 500)
    found = effects_of(predict, columns, Rows(inputs, predict(inputs)), NUMBER, 0)
    alone = {row["names"][0]: row["mean"] for row in found.importance}
    assert [row["names"] for row in found.together] == [["feet", "metres"], ["city", "capital"]]
    assert found.together[0]["mean"] > max(alone["feet"], alone["metres"]) > 0


def test_what_takes_too_long_is_counted_and_the_same_seed_gives_the_same() -> None:
    inputs = rows()
    problem, targets = Regression(Targets.values(["y"])), values_of(inputs)
    late = measured(problem, 1, inputs, targets, most_seconds=-1.0)
    assert (late.importance, late.curves, late.num_left_out) == ([], [], 5)
    assert measured(problem, 1, inputs, targets) == measured(problem, 1, inputs, targets)
