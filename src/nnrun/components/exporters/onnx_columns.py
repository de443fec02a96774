"""The columns of a table as the inputs of an ONNX network: numbers, dates and texts by name, coded inside the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.components.data.table.codes import code_of_each_text, input_type
from nnrun.components.data.table.columns import UNKNOWN, Column, Feature

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_ML, _ML_VERSION = "ai.onnx.ml", 3
_BATCH = "batch"
# The inputs of a network for tables.
_NUMBERS, _CATEGORIES = "numbers", "categories"
_SECONDS_OF_A_DAY = 86400


def take_columns(model: ModelProto, columns: Sequence[Column]) -> None:
    """Let a network that takes coded rows take the columns of a table by name instead, in place.

    A number is float32 `(N,)`, NaN where it is missing; a date float64, in seconds since 1970; a category or a boolean
    a string, empty where it is missing. Where a column has the name of the output, the output gets another.
    """
    import onnx  # noqa: PLC0415 - a run that exports nothing does not pay for it
    from onnx import helper  # noqa: PLC0415 - as above

    graph = model.graph
    titles = [column.name for column in columns]
    prefix = _prefix(graph, titles)
    _set_apart(graph, titles, prefix)
    made = _Graph(prefix)
    numbers = [name for column in columns if column.is_numeric for name in made.numbers(column)]
    codes = [made.code(column) for column in columns if not column.is_numeric]
    for parts, name in ((numbers, _NUMBERS), (codes, _CATEGORIES)):
        if parts:
            made.add("Concat", parts, f"{prefix}{name}", axis=1)
    types = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE, "string": onnx.TensorProto.STRING}
    del graph.input[:]
    graph.input.extend(
        helper.make_tensor_value_info(column.name, types[input_type(column)], [_BATCH]) for column in columns
    )
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made.nodes, *before])
    if codes:
        model.opset_import.append(helper.make_opsetid(_ML, _ML_VERSION))


def _prefix(graph: GraphProto, titles: Sequence[str]) -> str:
    """Return a prefix that no value of a graph and no title has."""
    names = {name for node in _nodes(graph) for name in (*node.input, *node.output)}
    prefix = "nnrun."
    while any(name.startswith(prefix) for name in (*names, *titles)):
        prefix = f"_{prefix}"
    return prefix


def _set_apart(graph: GraphProto, titles: Collection[str], prefix: str) -> None:
    """Rename the inputs of a graph, and the outputs and the values inside it that have the name of a column."""
    inner = {name for node in _nodes(graph) for name in (*node.input, *node.output)} & set(titles)
    new = {name: f"{prefix}{name}" for name in (*inner, _NUMBERS, _CATEGORIES)}
    for output in graph.output:
        if output.name in new:
            new[output.name] = _free(output.name, titles)
    for values in (graph.initializer, graph.value_info, graph.output):
        for value in values:
            value.name = new.get(value.name, value.name)
    for node in _nodes(graph):
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]


def _free(name: str, titles: Collection[str]) -> str:
    """Return a name that no column has: with underscores at its end."""
    while name in titles:
        name += "_"
    return name


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


class _Graph:
    """Nodes that are added one after the other."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[NodeProto] = []

    def add(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """Add an operator; return the name of its output."""
        from onnx import helper  # noqa: PLC0415 - as above

        name = output or f"{self.prefix}value_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], f"{self.prefix}{len(self.nodes)}", domain=domain, **attributes)
        )
        return name

    def constant(self, value: float | list[int], kind: str = "int64") -> str:
        """Add a constant; return its name."""
        import numpy as np  # noqa: PLC0415 - as above
        from onnx import numpy_helper  # noqa: PLC0415 - as above

        return self.add("Constant", [], value=numpy_helper.from_array(np.array(value, kind)))

    def cast(self, value: str, kind: str) -> str:
        """Add a conversion; return the name of its output."""
        from onnx import TensorProto  # noqa: PLC0415 - as above

        return self.add("Cast", [value], to={"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}[kind])

    def as_column(self, value: str) -> str:
        """Turn `(N,)` into `(N, 1)`."""
        return self.add("Unsqueeze", [value, self.constant([1])])

    def numbers(self, column: Column) -> list[str]:
        """Return the names of the numbers of a column, each float32 `(N, 1)`."""
        if column.kind == "number":
            return [self.as_column(column.name)]
        is_missing = self.add("IsNaN", [column.name])
        seconds = self.add("Where", [is_missing, self.constant(0.0, "float64"), column.name])
        missing = self.constant(float("nan"), "float32")
        found = []
        for feature in column.features:
            value = self._of_date(feature, column, seconds)
            found.append(self.as_column(self.add("Where", [is_missing, missing, value])))
        return found

    def _of_date(self, feature: Feature, column: Column, seconds: str) -> str:
        """Return the name of a part of dates, given in seconds since 1970, as float32 `(N,)`."""
        part = feature.name.removeprefix(column.name)
        if part == "":
            days = self.add("Div", [seconds, self.constant(float(_SECONDS_OF_A_DAY), "float64")])
            return self.cast(days, "float32")
        if part == ".hour":
            hours = self._whole(seconds, 3600)
            return self.cast(self._modulo(hours, 24), "float32")
        days = self._whole(seconds, _SECONDS_OF_A_DAY)
        if part == ".weekday":
            # The first of January 1970 was a Thursday; Monday is 1.
            return self.cast(self._plus(self._modulo(self._plus(days, 3), 7), 1), "float32")
        assert part == ".month", "a date has no other parts"
        return self.cast(self._month(days), "float32")

    def _month(self, days: str) -> str:
        """Return the name of the months, 1 to 12, of days since 1970, after Hinnant's civil_from_days.

        Years begin in March, in eras of 400 years: https://howardhinnant.github.io/date_algorithms.html
        """
        of_era = self._modulo(self._plus(days, 719468), 146097)
        leap = self._minus(self._over(of_era, 36524), self._over(of_era, 1460))
        year = self._over(self._minus(self.add("Add", [of_era, leap]), self._over(of_era, 146096)), 365)
        before = self._minus(self.add("Add", [self._times(year, 365), self._over(year, 4)]), self._over(year, 100))
        month = self._over(self._plus(self._times(self._minus(of_era, before), 5), 2), 153)
        return self._plus(self._modulo(self._plus(month, 2), 12), 1)

    def _whole(self, seconds: str, unit: int) -> str:
        units = self.add("Div", [seconds, self.constant(float(unit), "float64")])
        return self.cast(self.add("Floor", [units]), "int64")

    def _modulo(self, value: str, by: int) -> str:
        return self.add("Mod", [value, self.constant(by)])

    def _plus(self, value: str, number: int) -> str:
        return self.add("Add", [value, self.constant(number)])

    def _minus(self, value: str, other: str) -> str:
        return self.add("Sub", [value, other])

    def _times(self, value: str, by: int) -> str:
        return self.add("Mul", [value, self.constant(by)])

    def _over(self, value: str, by: int) -> str:
        return self.add("Div", [value, self.constant(by)])

    def code(self, column: Column) -> str:
        """Return the name of the code of each text of a column, int64 `(N, 1)`."""
        codes = code_of_each_text(column)
        code = self.add(
            "LabelEncoder",
            [column.name],
            domain=_ML,
            keys_strings=list(codes),
            values_int64s=list(codes.values()),
            default_int64=UNKNOWN,
        )
        return self.as_column(code)


def described(columns: Sequence[Column]) -> Mapping[str, Any]:
    """Return the dtype and shape of each input by name; the first dimension is dynamic."""
    return {column.name: {"dtype": input_type(column), "shape": [None]} for column in columns}


def in_words(columns: Sequence[Column]) -> str:
    """Return the inputs in words."""
    each = ", ".join(f"{column.name} {input_type(column)}" for column in columns)
    return (
        f"columns of a table by name, each (N,): {each}; NaN or an empty string where a cell is empty; dates in "
        "seconds since 1970"
    )
