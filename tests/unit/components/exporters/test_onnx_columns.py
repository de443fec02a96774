"""The columns of a table as inputs of an ONNX network: parts of dates, words, names that stand in the graph already."""

from __future__ import annotations

import datetime

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from nnrun.components.data.table.columns import Column, Feature
from nnrun.components.exporters.onnx_columns import take_columns

PARTS = ("", ".month", ".weekday", ".hour")


def run(columns: list[Column], given: dict[str, np.ndarray], inside: str = "sum") -> list[np.ndarray]:
    """What a network gets of columns: one that returns its two inputs, with a value of some name inside."""
    kinds = {"numbers": TensorProto.FLOAT, "categories": TensorProto.INT64}
    there = [name for name in kinds if any(column.is_numeric == (name == "numbers") for column in columns)]
    nodes, outputs = [], []
    for name in there:
        nodes.append(helper.make_node("Identity", [name], [inside if name == there[0] else f"{name}_inner"]))
        nodes.append(helper.make_node("Identity", list(nodes[-1].output), [f"scores_{name}"]))
        outputs.append(helper.make_tensor_value_info(f"scores_{name}", kinds[name], None))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kinds[name], None) for name in there], outputs
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    take_columns(model, columns)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)


def test_the_parts_of_dates_are_those_of_the_calendar() -> None:
    draw = np.random.default_rng(0)
    start = datetime.datetime(1200, 3, 1, tzinfo=datetime.UTC)
    moments = [start + datetime.timedelta(hours=int(hours)) for hours in draw.integers(0, 24 * 366 * 1600, 3000)]
    moments += [datetime.datetime(year, 2, 28, 23, tzinfo=datetime.UTC) for year in (1900, 1970, 2000, 2023, 2024)]
    moments += [moment + datetime.timedelta(hours=1) for moment in moments[-5:]]
    column = Column("when", "date", features=tuple(Feature(f"when{part}") for part in PARTS))
    seconds = np.array([moment.timestamp() for moment in moments] + [np.nan])
    (found,) = run([column], {"when": seconds})
    expected = [[of.timestamp() / 86400, of.month, of.isoweekday(), of.hour] for of in moments]
    np.testing.assert_array_equal(found[:-1], np.array(expected, np.float32))
    assert np.isnan(found[-1]).all()


def test_words_become_codes() -> None:
    columns = [
        Column("city", "category", categories=("Köln", "nan-city", "yes")),
        Column("heated", "boolean", categories=("false", "true")),
    ]
    city = ["Köln", "", "NA", "köln", "yes", "nan-city", "Ulm"]
    heated = ["Yes", "no", "TRUE", "f", "", "maybe", "off"]
    (found,) = run(columns, {"city": np.array(city, object), "heated": np.array(heated, object)})
    assert found[:, 0].tolist() == [2, 0, 0, 1, 4, 3, 1]
    assert found[:, 1].tolist() == [3, 2, 3, 2, 0, 1, 2]


@pytest.mark.parametrize("name", ["numbers", "categories", "nnrun.numbers", "inner", "a b.c/0", "é", "scores_numbers"])
def test_a_column_may_have_any_name(name: str) -> None:
    columns = [Column(name, "number", features=(Feature(name),)), Column("kind", "category", categories=("a",))]
    given = {name: np.array([1.5, np.nan], np.float32), "kind": np.array(["a", "b"], object)}
    numbers, codes = run(columns, given, inside="inner")
    np.testing.assert_array_equal(numbers[:, 0], given[name])
    assert codes[:, 0].tolist() == [2, 1]
