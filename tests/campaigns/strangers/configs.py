"""Configs that name, resolve or make something, and that grow."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaigns.strangers.kind import (
    CKPT,
    EVERYWHERE,
    LOAD,
    MODULE_NAME,
    NETWORK,
    RESUME,
    RUN,
    SECRET_NAME,
    SHOWN,
    TITLE,
    Bench,
    Hostile,
    config,
    part,
)
from campaigns.strangers.torch_zip import pack
from campaigns.strangers.values import (
    FOREIGN,
    MLP,
    MNIST,
    bomb,
    deep,
    holding_itself,
    make_pipe,
    making,
    normalize,
)


def model(**section: Any) -> Hostile:
    """Make a checkpoint with another section of the network."""
    return config(lambda _: {f"model/{key}": value for key, value in section.items()}, NETWORK)


def targets(**changes: Any) -> Hostile:
    """Make a checkpoint of a network that has learned something else."""
    return part(targets=lambda _: {"kind": "classes", "names": [*"0123456789"]} | changes)


def exported(name: str | Callable[[Path], str]) -> Hostile:
    """Make a checkpoint whose run would be exported into a folder of this name, which is emptied before."""
    return config(
        lambda canary: {"export": {name if isinstance(name, str) else name(canary): SAFETENSORS}}, (RESUME,), (4,)
    )


def named(text: str) -> Hostile:
    """Make a checkpoint whose data has another name."""
    return config(lambda _: {"data/name": text}, EVERYWHERE, (4,))


def in_pipe(canary: Path) -> dict[str, Any]:
    """Return a data section whose folder is a pipe."""
    root = canary.with_name("pipe")
    make_pipe(root)
    return {"data/root": str(root), "data/dataset": MNIST | {"root": str(root)}}


def save_deep(bench: Bench) -> None:
    """Make a checkpoint in whose config a hundred thousand lists are in each other: no pickler writes that."""
    data = pickle.dumps(bench.good | {"model": {}, "training": {}, "config": "here"}, 2)
    lists = b"]" * 10**5 + b"a" * (10**5 - 1)
    pack(bench.path, {"data.pkl": data.replace(b"X\4\0\0\0here", lists), "version": b"3\n"})


# What may stand where a class is named: the section that holds it is the network's, which everybody builds.
TARGETS = (
    "os.system",
    "builtins.eval",
    "torch.save",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.modules.module.torch.os.system",
    "torch.hub.load",
    "nnrun.cli.main",
    "nnrun.checkpoints.folder.load_weights",
    "nnrun.base.files.write_text",
    "nnrun_canary.Canary",
    "campaigns.strangers.torch_zip.Call",
    "nnrun..nnrun_canary.Canary",
    "nnrun.components.models.mlp.MLP\0",
    "nnrun.components.models.mlp.\ud800",
    "nnrun.",
    ".",
    "",
)
SAFETENSORS = {
    "_target_": "nnrun.components.exporters.safetensors.SafetensorsExporter",
    "tolerance": 1e-6,
    "min_agreement": 1.0,
}
ERASING = {
    "_target_": "nnrun.components.augment.erasing.Erasing",
    "probability": 0.5,
    "area": [0.02, 0.3],
    "ratio": [0.3, 3.3],
    "fill": "noise",
    "in_shape": [1, 28, 28],
}
# What a resolver would act on.
TEXTS = (
    f"${{oc.env:{SECRET_NAME}}}",
    f"a ${{oc.env:{SECRET_NAME},x}} b",
    f"\\${{oc.env:{SECRET_NAME}}}",
    "${oc.create:{_target_: torch.save}}",
    "${oc.decode:'[1]'}",
)
# A class of nnrun's that has the methods of an augmentation, and runs a file when it is made.
STARTER = {"_target_": "nnrun.proof.isolated.Isolated", "format_name": "onnx", "path": "x"}
STOPPING = {
    "_target_": "nnrun.components.callbacks.early_stopping.EarlyStopping",
    "monitor": "valid/loss",
    "mode": "min",
    "patience": 1,
    "min_delta": 0.0,
}
CONFIGS = {
    **{f"a network that is {target!r}": model(_target_=target) for target in TARGETS},
    "a foreign optimizer": config(lambda _: {"optimizer": FOREIGN}),
    "a foreign scheduler": config(lambda _: {"scheduler": FOREIGN}),
    "a foreign loss": config(lambda _: {"loss": FOREIGN}),
    "a foreign data set": config(lambda _: {"data/dataset": FOREIGN}),
    "a foreign export": config(lambda _: {"export": {"x": FOREIGN}}, (RESUME,)),
    "an export that is a folder elsewhere": exported(str),
    "an export that climbs": exported(lambda canary: f"../../../{canary.name}"),
    **{f"an export called {name!r}": exported(name) for name in ("..", ".", "", "a/b", "a\0b", TITLE)},
    "an augmentation that is a path": config(lambda canary: {"augment": {str(canary): ERASING}}, (RESUME,), (4,)),
    "a foreign logger": config(lambda _: {"logger": {"x": FOREIGN}}, (RESUME,)),
    "a foreign callback": config(lambda _: {"callback": {"x": FOREIGN}}, (RESUME,)),
    "a callback of ours twice": config(lambda _: {"callback": {"rows": STOPPING}}, (RESUME,), (4,)),
    "a foreign augmentation": config(lambda _: {"augment": {"x": FOREIGN}}, (RESUME,)),
    "a foreign preprocessing": part(SHOWN, preprocessing=lambda _: FOREIGN),
    "a foreign class that trusts itself": config(lambda _: {"trust": [MODULE_NAME], "model": FOREIGN}, NETWORK),
    "a target that is a number": model(_target_=3),
    "a target that is a list": model(_target_=["nnrun_canary.Canary"]),
    "no target": config(lambda _: {"model": {}}, NETWORK),
    "a target for the whole": config(making),
    "a made argument": config(lambda canary: {"model/hidden": making(canary)}, NETWORK),
    "a made argument in a list": config(lambda canary: {"model/hidden": [making(canary)]}, NETWORK),
    "a made argument in a tuple": config(lambda canary: {"model/hidden": (making(canary),)}, NETWORK),
    "a made argument of the preprocessing": part(
        (CKPT, RUN, LOAD), preprocessing=lambda canary: normalize(std=[0.5, making(canary)])
    ),
    "a made argument of the preprocessing in a tuple": part(
        (CKPT, RUN, LOAD), preprocessing=lambda canary: normalize(std=(0.5, making(canary)))
    ),
    "_args_": config(lambda canary: {"model/_args_": [making(canary)]}, NETWORK),
    "_args_ in a tuple": config(lambda canary: {"model/_args_": (making(canary),)}, NETWORK),
    "_partial_": model(_partial_=True),
    "_recursive_": config(lambda canary: {"model/_recursive_": False, "model/hidden": [making(canary)]}, NETWORK),
    "_recursive_ that is a section": config(lambda canary: {"model/_recursive_": making(canary)}, NETWORK),
    "_convert_": config(lambda canary: {"model/_convert_": "object", "model/hidden": [making(canary)]}, NETWORK),
    "_instantiator_": model(_instantiator_="torch.save"),
    "_call_": model(_call_="torch.save"),
    **{f"the text {text!r}": named(text) for text in TEXTS},
    "an interpolation for a key": config(lambda _: {f"${{oc.env:{SECRET_NAME}}}": 1}, EVERYWHERE, (4,)),
    "???": model(hidden="???"),
    "lists in each other": config(lambda _: {"model/hidden": deep(100)}, EVERYWHERE, (4,)),
    "100,000 lists in each other": Hostile(save_deep),
    "an alias bomb": config(lambda _: {"model/hidden": bomb(7)}, EVERYWHERE, (4,)),
    "a list that holds itself": config(lambda _: {"model/hidden": holding_itself(1)}, EVERYWHERE, (4,)),
    "a list that holds itself often": config(lambda _: {"model/hidden": holding_itself(10**6)}, EVERYWHERE, (4,)),
    "a list a million times": config(lambda _: {"model/hidden": [["x"] * 10] * 10**6}, EVERYWHERE, (4,)),
    "a text of 1 MB": config(lambda _: {"data/name": "x" * 10**6}, codes=(0, 2, 4)),
    "a key that is a number": config(lambda _: {"data": {1: 2}}),
    "a key that is null": config(lambda _: {"data": {None: 2}}),
    "a key that is a tuple": config(lambda _: {"data": {(1, 2): 2}}),
    "a key of the network that is null": config(lambda _: {"model": {**MLP, None: 2}}, NETWORK),
    "bytes": config(lambda _: {"data/name": b"x"}, EVERYWHERE, (4,)),
    "a set": config(lambda _: {"data/name": {1}}, EVERYWHERE, (4,)),
    "an OrderedDict": config(lambda _: {"data": OrderedDict(name="x")}),
    "a number of 5,000 digits": config(lambda _: {"seed": 10**5000}),
    "a name that is no text": config(lambda _: {"data/name": 3}),
    "a name that cannot be written": config(lambda _: {"data/name": "\ud800"}),
    "a name that climbs": config(lambda canary: {"data/name": f"../../..{canary}"}, codes=(0, 2, 4)),
    "data in an endless file": config(lambda _: {"data/root": "/dev/zero", "data/dataset": MNIST}, codes=(3,)),
    "data in a pipe": config(in_pipe, codes=(3,)),
    "data that is an exporter": config(
        lambda _: {"data/dataset": {"_target_": "nnrun.components.exporters.onnx.OnnxExporter"}}, codes=(4,)
    ),
    "data that is an unpickler": config(
        lambda canary: {"data/dataset": {"_target_": "nnrun.checkpoints.read._PlainUnpickler", "file": str(canary)}},
        codes=(4,),
    ),
    "data that is an unpickler among the data sets": config(
        lambda canary: {
            "data/dataset": {"_target_": "nnrun.components.data.array_pickle._ArrayUnpickler", "file": str(canary)}
        },
        codes=(4,),
    ),
    "an augmentation that starts a process": config(
        lambda canary: {"augment": {"x": {**STARTER, "script": str(canary)}}}, (RESUME,), (4,)
    ),
    "a device of nobody": config(lambda _: {"trainer/device": "meta"}),
    "a network of 9 GB": model(hidden=[30_000, 80_000]),
    "a network of 9 GB of torch's": model(
        _target_="torch.nn.Bilinear", in1_features=10**4, in2_features=10**4, out_features=25
    ),
    "a network of 10^9 layers": model(_target_="torch.nn.Transformer", num_encoder_layers=10**9),
    "a network of 10^9 layers, of a loop": model(
        _target_="torch.nn.LSTM", input_size=1, hidden_size=1, num_layers=10**9
    ),
    "a network of 5,000 layers": model(hidden=[1] * 5000),
    "a loss of 40 GB": config(
        lambda _: {"loss": {"_target_": "torch.nn.Linear", "in_features": 10**5, "out_features": 10**5}}
    ),
    "a network of 2^40 weights": model(hidden=[2**40]),
    "a network for 2^40 pixels": model(in_shape=[1, 2**20, 2**20]),
    "a schema of 10^9": part(schema=lambda _: 10**9),
    "a schema of -1": part(schema=lambda _: -1),
    "a schema of 10^5000": part(schema=lambda _: 10**5000),
    "a schema that is true": part(schema=lambda _: True),
    "class names that are numbers": targets(names=[1, 2]),
    "class names of 1 MB": targets(names=["x" * 10**6]),
    "class names that cannot be written": targets(names=["\ud800"] * 10),
    "class names that command the terminal": targets(names=[TITLE]),
    "class names that are a text": targets(names="0123456789"),
    "class names of 100,001 classes": targets(names=["x"] * 100_001),
    "targets of a kind of tomorrow": targets(kind="tomorrow"),
    "targets of a kind that commands the terminal": targets(kind=TITLE),
    "targets of a kind that is a list": targets(kind=["classes"]),
    "targets that are a text": part(targets=lambda _: "classes"),
    "targets without names": part(targets=lambda _: {"kind": "classes"}),
    "targets, and class names of their own": part(class_names=lambda _: [*"9876543210"]),
    "targets, and the class names of before": part(class_names=lambda _: [*"0123456789"]),
    "a preprocessing of nothing": part(SHOWN, preprocessing=lambda _: {}),
    "a preprocessing that divides by 0": part((CKPT, RUN), (2, 4), preprocessing=lambda _: normalize(std=[0.0])),
    "a preprocessing of texts": part((CKPT, RUN), (2, 4), preprocessing=lambda _: normalize(mean="ab", std="cd")),
}
