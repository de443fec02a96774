"""Tensors that lie, about where they are or about themselves, and weights that are none."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from campaigns.strangers.kind import TITLE, Hostile, packed, weights
from campaigns.strangers.torch_zip import Call, torch_entries
from campaigns.strangers.values import holding_itself, set_weight


def tensor(claim: Any = None, **said: Any) -> Hostile:
    """Make a checkpoint with a tensor that lies, about where it is or about itself."""
    return packed(lambda bench: torch_entries(bench.good, claim, **said))


TENSORS = {
    "a storage of 2^40": tensor(("storage", torch.FloatStorage, "0", "cpu", 2**40)),
    "a storage of -1": tensor(("storage", torch.FloatStorage, "0", "cpu", -1)),
    "a storage of NaN": tensor(("storage", torch.FloatStorage, "0", "cpu", float("nan")), size=(2**40,), stride=(1,)),
    "a storage of a text": tensor(("storage", torch.FloatStorage, "0", "cpu", "1")),
    "a storage of other numbers": tensor(("storage", torch.HalfStorage, "0", "cpu", 32 * 784)),
    "a storage of fewer numbers": tensor(("storage", torch.FloatStorage, "0", "cpu", 1), size=(1,), stride=(1,)),
    "a storage in two types": tensor(("storage", torch.HalfStorage, "1", "cpu", 64), size=(64,), stride=(1,)),
    "a storage of true": tensor(("storage", torch.BoolStorage, "0", "cpu", True)),
    "a location that is a list": tensor(("storage", torch.FloatStorage, "0", [], 1)),
    "a storage elsewhere": tensor(("storage", torch.FloatStorage, "../../canary", "cpu", 1)),
    "a storage that is a list": tensor(("storage", torch.FloatStorage, [], "cpu", 1)),
    "a storage of another kind": tensor(("module", nn.Linear, "0", "cpu", 1)),
    "a storage without a type": tensor(("storage", None, "0", "cpu", 1)),
    "a storage that is a tuple": weights(
        lambda model: dict.fromkeys(
            model, Call(torch._utils._rebuild_tensor_v2, (2**40, 4), 0, (2**40,), (1,), False, {})
        )
    ),
    "a persistent id that is a text": tensor("storage"),
    "a persistent id too short": tensor(("storage",)),
    "2^40 elements": tensor(size=(2**20, 2**20), stride=(0, 0)),
    "2^200 elements": tensor(size=(2**100, 2**100), stride=(0, 0)),
    "a negative size": tensor(size=(-32, 784)),
    "a size of NaN": tensor(size=(float("nan"), 784)),
    "a size of texts": tensor(size=("32", "784")),
    "a negative stride": tensor(stride=(-784, 1)),
    "a stride beyond the end": tensor(stride=(784, 2)),
    "an offset beyond the end": tensor(offset=1),
    "a negative offset": tensor(offset=-1),
    "an offset that is true": tensor(offset=True),
    "a size of true": tensor(size=(True, 784), stride=(784, 1)),
    "a stride of 2^63": tensor(size=(1, 784), stride=(2**63, 1)),
    "more strides than sizes": tensor(stride=(784, 1, 1)),
    "a size that is a list": tensor(size=[32, 784]),
    "100,000 dimensions": tensor(size=(1,) * 10**5, stride=(1,) * 10**5),
    "NaN": weights(set_weight(float("nan"))),
    "infinity": weights(set_weight(float("inf"))),
    "weights that are numbers": weights(lambda model: dict.fromkeys(model, 1)),
    "weights that are lists": weights(lambda model: {name: weight.tolist() for name, weight in model.items()}),
    "weights without names": weights(lambda model: dict(enumerate(model.values()))),
    "weights of another shape": weights(lambda model: {name: weight[..., :1] for name, weight in model.items()}),
    "weights that command the terminal": weights(lambda model: {TITLE + name: model[name] for name in model}),
    "weights with names of 1 MB": weights(lambda model: {name * 10**5: model[name] for name in model}),
    "no weights": weights(lambda _: {}),
    "weights that hold themselves": weights(lambda model: model | {next(iter(model)): holding_itself(1)}),
}
