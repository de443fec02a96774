"""What a classification shows of its samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import nnrun
from nnrun.base.sample_results import SampleResults
from nnrun.base.shown import Chart, Gallery, Shown, Table, Text
from nnrun.base.targets import Targets
from nnrun.components.problems.classification import Classification
from nnrun.runs.intervals import wilson


def make_results(num_classes: int = 3, num_samples: int = 200, num_kept: int | None = None) -> SampleResults:
    draws = np.random.default_rng(0)
    scores = 2 * draws.normal(size=(num_samples, num_classes))
    targets = np.where(draws.random(num_samples) < 0.7, scores.argmax(1), draws.integers(num_classes, size=num_samples))
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    columns = np.argsort(-probabilities, axis=1)[:, :num_kept].astype(np.int32) if num_kept else None
    kept = probabilities if columns is None else np.take_along_axis(probabilities, columns, 1)
    return SampleResults(
        kind="classes",
        names=tuple(f"class {number}" for number in range(num_classes)),
        num_samples=num_samples,
        indices=np.arange(num_samples),
        targets=targets,
        predictions=kept.astype(np.float16),
        losses=-np.log(probabilities[np.arange(num_samples), targets]).astype(np.float32),
        are_right=predicted == targets,
        columns=columns,
        predicted=predicted.astype(np.int32),
    )


def shown_of(results: SampleResults) -> Sequence[Shown]:
    return Classification(Targets.classes(results.names)).show_samples(results)


def by_title(shown: Sequence[Shown]) -> dict[str, Shown]:
    assert len({part.title for part in shown}) == len(shown)
    return {part.title: part for part in shown}


def test_texts_of_the_costliest_are_shown_in_a_table_and_not_as_a_gallery():
    """Negative control: without texts, it is a gallery."""
    results = make_results()
    rows = results.costliest(24)
    texts = {int(results.indices[row]): f"text {row}" for row in rows[:5]}
    table = by_title(shown_of(replace(results, texts=texts)))["Costliest mistakes"]
    assert isinstance(table, Table) and table.columns == ("sample", "result", "contents")
    assert [row[2] for row in table.rows] == [*texts.values(), *[None] * (len(rows) - 5)]
    assert [row[0] for row in table.rows] == [str(results.indices[row]) for row in rows]
    assert isinstance(by_title(shown_of(results))["Costliest mistakes"], Gallery)


def test_a_temperature_above_what_half_precision_can_tell_is_a_lower_bound():
    """Scores that are 20 times too large: the kept probabilities give 6.5. The next test is the negative control."""
    draws = np.random.default_rng(0)
    scores = 2 * draws.normal(size=(1000, 10))
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    targets = np.array([draws.choice(10, p=row) for row in shares])
    probabilities = np.exp(20 * (scores - scores.max(1, keepdims=True))).astype(np.float16)
    results = replace(make_results(10, 1000), predictions=probabilities, targets=targets, predicted=scores.argmax(1))
    facts = by_title(shown_of(results))["Calibration"]
    assert isinstance(facts, Table)
    said = str(dict(facts.rows)["best temperature"])
    assert re.match(r"at least 6\.\d{3} \(ECE ", said)
    num_lost = (probabilities[np.arange(1000), targets] == 0).sum()
    assert said.endswith(f"; {num_lost} samples had a probability of less than 3e-8 for the true class")


def test_curves_calibration_coverage_and_the_costliest_mistakes_are_shown():
    results = make_results()
    shown = by_title(shown_of(results))
    assert [*shown] == [
        "ROC curve", "Precision-recall curve", "Calibration", "How to read it", "Reliability diagram",
        "Histogram of confidence", "Accuracy by coverage", "Costliest mistakes",
    ]  # fmt: skip
    roc, facts, coverage = shown["ROC curve"], shown["Calibration"], shown["Accuracy by coverage"]
    assert isinstance(roc, Chart)
    assert isinstance(coverage, Chart)
    assert isinstance(facts, Table)
    is_class = results.targets[:, None] == np.arange(3)
    areas = [roc_auc_score(is_class[:, k], results.predictions[:, k].astype(float)) for k in range(3)]
    assert [float(name.rsplit(maxsplit=1)[1][:-1]) for name in roc.series] == pytest.approx(
        [np.mean(areas), *areas], abs=1e-3
    )
    right = results.are_right
    said = dict(facts.rows)
    assert said["accuracy"] == right.mean()
    assert said["verdict"].startswith("underconfident: by 0.")
    assert re.fullmatch(r"0\.\d{4} \(expected calibration error, 15 bins; .* about 0\.\d{4} by chance\)", said["ECE"])
    temperature = re.fullmatch(r"(\d\.\d{3}) \(ECE .*-likelihood \d.\d{4} instead of .*", said["best temperature"])
    assert temperature
    assert 1 < float(temperature[1]) < 2
    assert coverage.series["accuracy"][-1] == right.mean()
    best = np.argsort(-results.predictions.max(1).astype(float), kind="stable")[:20]
    assert (coverage.x[9], coverage.series["accuracy"][9]) == (0.1, pytest.approx(right[best].mean()))


def test_of_two_classes_the_curves_are_those_of_the_second():
    results = make_results(2)
    shown = by_title(shown_of(results))
    chart = shown["Precision-recall curve"]
    assert isinstance(chart, Chart)
    area = average_precision_score(results.targets, results.predictions[:, 1].astype(float))
    (name,) = chart.series
    assert name.startswith("class 1 (AP ")
    assert float(name.rsplit(maxsplit=1)[1][:-1]) == pytest.approx(area, abs=1e-3)


def test_of_a_thousand_classes_the_most_probable_give_calibration_and_no_curves():
    shown = shown_of(make_results(1000, num_kept=10))
    assert isinstance(shown[0], Text)
    assert "of 1,000 classes, only the 10 most probable ones of each sample" in shown[0].text
    titles = [part.title for part in shown]
    assert "ROC curve" not in titles
    assert titles[1:4] == ["Calibration", "How to read it", "Reliability diagram"]
    assert isinstance(shown[1], Table)
    assert not any("temperature" in str(name) for name, _ in shown[1].rows)
    gallery = shown[-1]
    assert isinstance(gallery, Gallery)
    assert len(gallery.captions) == 24


def test_the_gallery_has_what_is_known_of_each_mistake_as_it_is():
    """Names are passed on unescaped, and paths without the folder that all share."""
    results = make_results()
    rows = results.costliest(24)
    paths = [f"/data/test/{index % 3}/<b>{index}\x1b.png" for index in range(200)]
    named = replace(
        results,
        paths=tuple(paths),
        names=("<script>", "b\x1b[31m", "c"),
        pictures={rows[0]: b"png", 3: b"of a sample that is not shown"},
    )
    gallery = shown_of(named)[-1]
    assert isinstance(gallery, Gallery)
    assert [*gallery.captions] == rows
    assert gallery.pictures == {rows[0]: b"png"}
    row = rows[0]
    true, said = int(results.targets[row]), int(named.predicted[row]) if named.predicted is not None else 0
    values = results.predictions[row].astype(float)
    assert gallery.captions[row] == (
        f"{row % 3}/<b>{row}\x1b.png: {named.names[true]} ({values[true]:.3f}), "
        f"predicted {named.names[said]} ({values[said]:.3f})"
    )
    all_right = replace(results, are_right=np.ones(200, dtype=bool))
    assert shown_of(all_right)[-1].title == "Costliest samples"


def test_what_cannot_be_computed_is_said():
    results = make_results()
    part = replace(results, num_samples=300)
    nan = replace(results, predictions=np.where(np.arange(200)[:, None] == 7, np.float16(np.nan), results.predictions))
    one_class = replace(results, targets=np.zeros(200, dtype=int))
    for given, words in (
        (part, "of 300 test samples, only the 200 samples with the largest losses"),
        (nan, "1 sample"),
    ):
        text, gallery = shown_of(given)
        assert isinstance(text, Text)
        assert words in text.text
        assert isinstance(gallery, Gallery)
    titles = [part.title for part in shown_of(one_class)]
    assert "Reliability diagram" in titles
    assert "ROC curve" not in titles
    empty = {name: value[:0] for name, value in vars(results).items() if isinstance(value, np.ndarray)}
    assert [type(part) for part in shown_of(replace(results, num_samples=0, **empty))] == [Text]


def test_the_interval_is_that_of_the_main_metric():
    class Macro(Classification):
        headline = "f1"

    class Other(Classification):
        headline = "kappa"

    results = make_results()
    targets = Targets.classes(results.names)
    accuracy = Classification(targets).interval(results)
    assert accuracy == wilson(int(results.are_right.sum()), 200)
    macro = Macro(targets).interval(results)
    assert macro is not None
    assert macro != accuracy
    assert Other(targets).interval(results) is None
    assert Classification(targets).interval(replace(results, num_samples=201)) is None
    one = {name: value[:1] for name, value in vars(results).items() if isinstance(value, np.ndarray)}
    assert Classification(targets).interval(replace(results, num_samples=1, **one)) is None


def test_the_problem_of_the_page_shows_its_table_first():
    page = (Path(nnrun.__file__).parents[2] / "docs" / "problems.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    results = make_results()
    table, *others = names["WithinOne"](Targets.classes(results.names)).show_samples(results)
    assert table.rows[0][:2] == (0, results.are_right.sum())
    assert sum(row[1] for row in table.rows) == 200
    assert [part.title for part in others] == [part.title for part in shown_of(results)]
