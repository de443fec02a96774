from __future__ import annotations

import json
import math
from typing import Any

import pytest

from nnrun.base.shown import Chart
from nnrun.runs.charts import drawn, vega_lite

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\\"
CHARTS = {
    "lines": Chart("t", "line", [1, 2, 3], {"train": [3, 2, 1], "valid": [None, 2.5, None]}, "epoch", "loss"),
    "log lines": Chart("t", "line", [1, 10, 100], {"lr": [1e-3, 0, 1e-5]}, x_scale="log", y_scale="log"),
    "lines over names": Chart("t", "line", ["a", "b"], {"x": [1, 2]}, marks={"best": 1}),
    "many lines": Chart("t", "line", [1, 2], {f"run {i}": [i, 1] for i in range(40)}, "step", "loss"),
    "points": Chart("t", "points", [0.1, 0.9], {"a": [0.2, 1.0], "b": [None, 1]}, "x", "y", diagonal=True),
    "histogram": Chart("t", "bars", [0.5, 1.5, 2.5], {"a": [1, 2, 3], "b": [0, 1, 5]}, marks={"zero": 1.0}),
    "log histogram": Chart("t", "bars", [0.5, 1.5, 2.5], {"a": [1, 0, 3000]}, y_scale="log"),
    "bars": Chart("t", "bars", ["a", "b"], {"train": [1, 2], "test": [3, -4]}),
    "lying bars": Chart("t", "bars", ["a long name", "b"], {"f1": [0.5, 1.0]}),
    "counts": Chart("t", "heatmap", ["a", "b"], {"a": [5, 0], "b": [1, 12345]}, "predicted", "true"),
    "shares": Chart("t", "heatmap", ["a", "b"], {"a": [0.996, 0.004], "b": [None, 1.0]}),
    "differences": Chart("t", "heatmap", ["a", "b"], {"a": [0.5, -0.5], "b": [0.0, 1.5]}),
    "parallel": Chart("t", "parallel", ["lr", "model", "loss"], {"a": [1e-4, "mlp", 0.2], "b": [0.1, "cnn", None]}),
    "one parallel": Chart("t", "parallel", ["lr"], {"a": [1], "b": [1]}),
    "hostile": Chart(HOSTILE, "line", [1, 2], {HOSTILE: [1, 2]}, HOSTILE, HOSTILE, marks={HOSTILE: 1}, note=HOSTILE),
    "nothing": Chart("t", "line", [], {"a": []}),
    "no series": Chart("t", "bars", [1, 2], {}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_specification_is_valid_and_plain_json(name: str) -> None:
    import altair

    spec = vega_lite(CHARTS[name])
    altair.Chart.from_dict(spec)
    json.dumps(spec, allow_nan=False)


def test_a_specification_that_is_wrong_is_refused_by_altair() -> None:
    """Negative control of the test above."""
    import altair

    spec = vega_lite(CHARTS["bars"])
    spec["encoding"]["color"]["type"] = "colorful"
    with pytest.raises(Exception, match="colorful"):
        altair.Chart.from_dict(spec)


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["data"]["values"]


def test_parallel_axes_hold_numbers_or_names() -> None:
    spec = vega_lite(CHARTS["parallel"])
    points = rows(spec)
    assert [(row["series"], row["axis"], row["y"], row["value"]) for row in points] == [
        ("a", "lr", 0.0, "0.0001"), ("b", "lr", 1.0, "0.1"), ("a", "model", 1.0, "mlp"), ("b", "model", 0.0, "cnn"),
        ("a", "loss", 0.5, "0.2"),
    ]  # fmt: skip
    tooltips = [layer["encoding"]["tooltip"] for layer in spec["layer"] if "tooltip" in layer["encoding"]]
    assert [field["title"] for field in tooltips[0]] == ["series", "axis", "value"]
    # Over several powers of ten, the axis is logarithmic.
    spec = vega_lite(Chart("t", "parallel", ["lr"], {"a": [1e-4], "b": [1e-3], "c": [1e-2]}))
    assert [row["y"] for row in rows(spec)] == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("kind", ["points", "line"])
def test_axes_fit_values_that_are_far_from_zero(kind: Any) -> None:
    values = [1e9 + 1, 1e9 + 3]
    spec = vega_lite(Chart("t", kind, values, {"a": values}, diagonal=True))
    (y, *_) = (layer["encoding"]["y"]["scale"] for layer in spec["layer"] if "scale" in layer["encoding"].get("y", {}))
    assert (y["zero"], y["domain"], spec["encoding"]["x"]["scale"]["zero"]) == (False, values, False)
    # The negative control: bars begin at zero.
    spec = vega_lite(Chart("t", "bars", ["a", "b"], {"n": values}))
    assert spec["encoding"]["y"]["scale"]["domain"][0] == 0


def test_what_is_not_finite_is_a_gap() -> None:
    values = [1.0, math.nan, math.inf, None, 2.0]
    assert rows(vega_lite(Chart("t", "line", range(5), {"a": values}))) == [
        {"x": 0, "s0": 1.0}, {"x": 1}, {"x": 2}, {"x": 3}, {"x": 4, "s0": 2.0},
    ]  # fmt: skip


def test_a_log_scale_drops_what_is_not_positive() -> None:
    chart = Chart("t", "line", [0, 1, 10, 100], {"a": [1, -1, 0, 5]}, x_scale="log", y_scale="log")
    assert rows(vega_lite(chart)) == [{"x": 1}, {"x": 10}, {"x": 100, "s0": 5}]


def test_a_long_line_is_thinned_but_keeps_its_extremes() -> None:
    values = [math.sin(i / 9) for i in range(100_000)]
    values[54_321], values[77_777] = 9.0, -9.0
    spec, notes = drawn(Chart("t", "line", range(100_000), {"a": values}))
    kept = rows(spec)
    assert 1_000 < len(kept) <= 2_000
    assert {"x": 54_321, "s0": 9.0} in kept
    assert {"x": 77_777, "s0": -9.0} in kept
    assert kept[0]["x"] == 0
    assert kept[-1]["x"] == 99_999
    assert notes == [f"{len(kept):,} of 100,000 points are drawn, extremes among them."]
    assert drawn(Chart("t", "line", range(2_000), {"a": values[:2_000]}))[1] == []


def test_of_a_thousand_classes_the_most_confused_are_drawn() -> None:
    names = [f"class {i}" for i in range(1_000)]
    matrix = {name: [0] * 1_000 for name in names}
    for i, name in enumerate(names):
        matrix[name][i] = 50
    matrix["class 7"][900] = 3
    spec, notes = drawn(Chart("t", "heatmap", names, matrix, "predicted", "true"))
    shown = {row["x"] for row in rows(spec)}
    assert {"class 7", "class 900"} <= shown
    assert len(shown) == 30
    assert {"x": "class 900", "y": "class 7", "value": 3} in [
        {key: row[key] for key in ("x", "y", "value")} for row in rows(spec)
    ]
    assert notes == ["The 30 most confused of 1,000 classes are drawn."]


def test_of_many_bars_the_smallest_and_the_largest_are_drawn() -> None:
    values = [(i * 37) % 1_000 / 1_000 for i in range(1_000)]
    spec, notes = drawn(Chart("t", "bars", [f"class {i}" for i in range(1_000)], {"f1": values}))
    shown = sorted(row["y"] for row in rows(spec))
    assert shown == sorted(values)[:30] + sorted(values)[-30:]
    assert notes == ["The 60 smallest and largest of 1,000 are drawn."]


def test_cells_hold_short_texts() -> None:
    counts = {(row["y"], row["x"]): row["text"] for row in rows(vega_lite(CHARTS["counts"]))}
    assert counts == {("a", "a"): "5", ("a", "b"): "", ("b", "a"): "1", ("b", "b"): "12k"}
    shares = [row["text"] for row in rows(vega_lite(CHARTS["shares"]))]
    assert shares == ["1.00", "", "1.00"]


def test_names_are_one_line_and_never_an_expression() -> None:
    spec = vega_lite(CHARTS["hostile"])
    assert "\x1b" not in json.dumps(spec)
    tooltips = [layer["encoding"]["tooltip"] for layer in spec["layer"] if "tooltip" in layer["encoding"]]
    # Vega-Lite quotes a title in an expression without escaping its backslashes.
    assert [line["title"].count("\\") % 2 for line in tooltips[0]] == [0, 0]
    fields = json.dumps([layer.get("transform") for layer in spec["layer"]])
    assert "fold" in fields
    assert '"as": ["key", "y"]' in fields


@pytest.mark.parametrize("kind", ["line", "points", "bars", "heatmap", "parallel"])
def test_any_values_can_be_drawn(kind: Any) -> None:
    """A log axis of a value next to zero once never ended."""
    values = [5e-324, 1e308, 10**400, -(10**400), "text", b"bytes", True, [1]]
    for scale in ("linear", "log"):
        chart = Chart("t", kind, values, {"a": values, "b": values[:3]}, "", "", scale, scale, {"m": math.nan})
        json.dumps(vega_lite(chart), allow_nan=False)
