"""The networks for tables: what they compute of numbers, bins, flags and categories."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnrun.base.errors import ConfigError
from nnrun.components.models.linear import LinearModel
from nnrun.components.models.mlp import MLP
from nnrun.components.models.tabm import TabM
from nnrun.components.models.tabular import Tabular

TABLE = {"numbers": 2, "flags": 1, "bins": 3, "categories": [4, 3]}


def mlp(table: dict, num_outputs: int) -> MLP:
    return MLP({"numbers": [2], "categories": [2]}, num_outputs, [6], 0.0, {"table": table})


NETWORKS = (Tabular, TabM, LinearModel, mlp)


def rows(number: int = 5, table: dict = TABLE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    if table["numbers"]:
        found["numbers"] = torch.randn(number, table["numbers"] + table["flags"], generator=generator)
        found["bins"] = torch.rand(number, table["numbers"], table["bins"], generator=generator)
    if table["categories"]:
        codes = [torch.randint(0, count, (number,), generator=generator) for count in table["categories"]]
        found["categories"] = torch.stack(codes, 1)
    return found


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("lacks", [{}, {"categories": []}, {"numbers": 0, "flags": 0, "bins": 0}])
def test_a_network_takes_what_a_table_has_and_each_parameter_learns(network: type[nn.Module], lacks: dict) -> None:
    torch.manual_seed(0)
    table = TABLE | lacks
    built = network(table, 3)
    outputs = built(rows(200, table))
    scores = outputs["members"] if isinstance(outputs, dict) else outputs
    nn.functional.cross_entropy(scores.flatten(0, -2), torch.arange(scores.flatten(0, -2).shape[0]) % 3).backward()
    grads = {name: parameter.grad for name, parameter in built.named_parameters()}
    assert all(grad is not None and bool(grad.isfinite().all()) and bool(grad.any()) for grad in grads.values())
    assert built.eval()(rows(5, table)).shape == (5, 3)


@pytest.mark.parametrize("network", NETWORKS[:3])
def test_samples_without_columns_are_refused(network: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match="is for tables: use data=table"):
        network(1, 3)


@pytest.mark.parametrize("hidden", [[6], []])
def test_the_mlp_is_one_on_numbers_and_one_hot_categories(hidden: list[int]) -> None:
    torch.manual_seed(0)
    network, inputs = MLP({}, 3, hidden, 0.0, {"table": TABLE}).eval(), rows()
    first = network.hidden[0].linear if hidden else network.head
    one_hot = [nn.functional.one_hot(inputs["categories"][:, place], count) for place, count in enumerate((4, 3))]
    found = torch.cat([inputs["numbers"], *one_hot], 1) @ torch.cat([first.numbers, first.categories.weight])
    found += first.bias
    torch.testing.assert_close(network(inputs), network.head(found.relu()) if hidden else found)


def test_columns_of_categories_have_codes_of_their_own() -> None:
    network = LinearModel(TABLE, 1)
    with torch.no_grad():
        network.categories.weight[:, 0] = torch.arange(7.0)
    inputs = rows()
    expected = inputs["categories"][:, 0] + inputs["categories"][:, 1] + 4.0
    torch.testing.assert_close(network(inputs)[:, 0], expected)


def test_a_number_is_a_piecewise_linear_function_of_its_bins() -> None:
    network = Tabular(TABLE | {"categories": []}, 1, number_size=2)
    columns, inputs = network.columns, rows(table=TABLE | {"categories": []})
    with torch.no_grad():
        columns.bins.normal_()
    found = columns(inputs)
    for number in range(2):
        value = inputs["numbers"][:, number, None]
        expected = (
            columns.bias[number] + value * columns.linear[number] + inputs["bins"][:, number] @ columns.bins[number]
        )
        torch.testing.assert_close(found[:, 2 * number : 2 * number + 2], expected)
    torch.testing.assert_close(found[:, 4], inputs["numbers"][:, 2])
