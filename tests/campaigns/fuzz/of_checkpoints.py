"""Readers of checkpoints, weights and what lies beside them, and of ONNX files."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nnrun
from campaigns.fuzz.judge import Differs, Target
from nnrun.assembly.allowed import check_trust
from nnrun.assembly.instantiate import build
from nnrun.assembly.network import preprocessing_of
from nnrun.assembly.objective import load_fitted
from nnrun.assembly.prediction.onnx_facts import facts_of
from nnrun.assembly.prediction.onnx_file import read_onnx
from nnrun.assembly.prediction.tables import columns_in
from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.open_file import OpenFile
from nnrun.checkpoints.locate import Located, locate
from nnrun.checkpoints.manifest import CHECKPOINT_SCHEMA, Manifest, ManifestEntry, read_manifest
from nnrun.checkpoints.model_card import FORMAT
from nnrun.checkpoints.read import read_pickle, read_saved
from nnrun.checkpoints.tensors import read_tensors
from nnrun.components.models.mlp import MLP
from nnrun.core.seams.problem import Problem

_NUM_STORAGES = 8


@functools.cache
def payload() -> dict[str, Any]:
    """Return the content of a checkpoint of a tiny network, as a run writes it."""
    config = nnrun.compose(["model=mlp", "model.hidden=[2]", "trainer.device=cpu"])
    config = {key: config[key] for key in ("model", "data", "loss", "trainer", "optimizer", "early_stopping")}
    config["data"] |= {"in_shape": [1, 2, 2], "num_classes": 2, "num_outputs": 2, "facts": {}}
    config["model"] |= {"in_shape": [1, 2, 2], "num_classes": 2, "facts": None}
    config["problem"] = {"_target_": "nnrun.components.problems.classification.Classification"}
    config = json.loads(json.dumps(config, default=str).replace("${", "$("))
    network = MLP(in_shape=[1, 2, 2], num_classes=2, hidden=[2], dropout=0.0)
    progress = {"epoch": 1, "batch": 0, "step": 5, "num_rows": 1, "logged_step": 5, "validated_step": 5}
    return {
        "schema": CHECKPOINT_SCHEMA,
        "model": network.state_dict(),
        "training": {"progress": {**progress, "best": None, "stop_reason": None}, "optimizer": {"state": {}}},
        "config": config,
        "targets": {"kind": "classes", "names": ["a", "b"]},
        "preprocessing": {"_target_": "nnrun.components.data.normalize.Normalize", "mean": [0.5], "std": [0.25]},
        "data_fingerprint": "0" * 64,
        "threads": 1,
    }


def saved(content: Any) -> bytes:
    """Return a file of torch.save."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def entries(content: bytes) -> dict[str, bytes]:
    """Return the entries of a zip file by their names without the root folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def _many_kinds() -> dict[str, Any]:
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"w": whole, "row": whole[1], "t": whole.T, "none": torch.empty(0, 3), "half": torch.ones(2).bfloat16()}
    return {"state_dict": {**tensors, "p": torch.nn.Parameter(torch.ones(2)), "n": torch.tensor(7)}, "epoch": 3}


def same_as_torch(file: OpenFile, content: bytes) -> None:
    """Raise Differs where torch reads other tensors out of a file than our reader; it may also refuse it."""
    ours = read_tensors(file, read_pickle(file))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        return
    _compare(ours, theirs, 0)


def _compare(ours: Any, theirs: Any, depth: int) -> None:
    """Compare two trees as far as both are of tensors and of plain values by name."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape or ours.stride() != theirs.stride():
            raise Differs(f"a tensor is {ours.dtype} {tuple(ours.shape)} here and {theirs.dtype} {tuple(theirs.shape)}")
        if ours.numel() < 2**16 and _bits(ours) != _bits(theirs):
            raise Differs("the numbers of a tensor differ")
    elif isinstance(ours, dict) and isinstance(theirs, dict) and depth < 20:
        names = [key for key in ours if isinstance(key, str)]
        if names != [key for key in theirs if isinstance(key, str)]:
            raise Differs("the keys of a dictionary differ")
        for name in names:
            _compare(ours[name], theirs[name], depth + 1)
    elif isinstance(ours, list) and isinstance(theirs, list) and depth < 20:
        if len(ours) != len(theirs):
            raise Differs("the lengths of a list differ")
        for our, their in zip(ours[:50], theirs, strict=False):
            _compare(our, their, depth + 1)
    elif type(ours) in (int, str, bool) and (type(ours) is not type(theirs) or ours != theirs):
        raise Differs(f"a value is {ours!r} here and {theirs!r} there")


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def _read_pickled(content: bytes, folder: Path) -> None:
    """Read bytes as the pickle of a file whose storages are given."""
    room = {f"data/{number}": bytes(range(16)) * 3 for number in range(_NUM_STORAGES)}
    named = {"data.pkl": content, "byteorder": b"little", **room, "version": b"3\n"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, bytes_ in named.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), bytes_)
    _read_file(packed.getvalue(), folder)


def _read_file(content: bytes, folder: Path) -> None:
    path = folder / "x.ckpt"
    path.write_bytes(content)
    file = OpenFile(path)
    read_saved(Located(file, None))
    same_as_torch(file, content)


def _pickles() -> list[bytes]:
    """Return pickles whose storages have the size of those in `_read_pickled`."""
    room = [torch.zeros(12), torch.zeros(6, dtype=torch.int64), torch.zeros(24, dtype=torch.float16)]
    made = [{"state_dict": {"a": room[0].view(3, 4), "b": room[1], "c": room[2][3:9]}, "e": [1, (2.5, None)]}]
    plain = {key: value for key, value in payload().items() if key != "model"}
    made.append({**plain, "model": {"w": room[0], "b": room[0][:2]}})
    return [entries(saved(content))["data.pkl"] for content in made]


def _read_safetensors(content: bytes, folder: Path) -> None:
    from safetensors import SafetensorError  # noqa: PLC0415 - as the program does
    from safetensors.torch import load  # noqa: PLC0415

    path = folder / "x.safetensors"
    path.write_bytes(content)
    file = OpenFile(path)
    described = read_saved(Located(file, None)).weights
    ours = read_tensors(file, dict(described))
    try:
        theirs = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, AttributeError, TypeError):
        return
    if set(ours) != set(theirs):
        raise Differs("the names of the tensors differ")
    for name, tensor in ours.items():
        _compare(tensor, theirs[name], 0)


def _safetensors() -> list[bytes]:
    from safetensors.torch import save  # noqa: PLC0415

    tensors = {"w": torch.arange(6.0).view(2, 3), "none": torch.empty(0, 2), "n": torch.tensor(3)}
    return [save(tensors), save(tensors, {"format": "pt"}), save({"h": torch.ones(3).half(), "b": torch.ones(2) > 0})]


def empty_tensor() -> bytes:
    """Return a file with a tensor that has rows but no columns."""
    from safetensors.torch import save  # noqa: PLC0415

    return save({"w": torch.empty(2, 0)})


def _read_manifest(content: bytes, folder: Path) -> None:
    """Read a manifest, signed so that its content is looked at, and locate its checkpoints."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    with_hash = _parsed(content)
    if isinstance(with_hash, dict):
        unsigned = {key: value for key, value in with_hash.items() if key != "sha256"}
        sha256 = hashlib.sha256(json.dumps(unsigned, sort_keys=True).encode()).hexdigest()
        content = json.dumps({**unsigned, "sha256": sha256}).encode()
    (checkpoints / "manifest.json").write_bytes(content)
    (checkpoints / "step-00000005-e3b0c442.ckpt").write_bytes(b"x")
    read_manifest(checkpoints)
    for want in ("best", "last"):
        locate(folder, want)


def _manifests() -> list[bytes]:
    name = "step-00000005-e3b0c442.ckpt"
    row = ManifestEntry(name, hashlib.sha256(b"x").hexdigest(), 1, 5)
    return [json.dumps(Manifest((row,), name, name).to_json()).encode(), json.dumps(Manifest().to_json()).encode()]


def _read_card(content: bytes, folder: Path) -> None:
    """Read a model card, with the hash of the weights that it lies beside."""
    weights = _weights()
    value = _parsed(content)
    if isinstance(value, dict):
        content = json.dumps({**value, "sha256": hashlib.sha256(weights).hexdigest()}).encode()
    (folder / "model.json").write_bytes(content)
    (folder / "model.safetensors").write_bytes(weights)
    nnrun.load(folder / "model.safetensors")


@functools.cache
def _weights() -> bytes:
    from safetensors.torch import save  # noqa: PLC0415

    return save(payload()["model"])


def _cards() -> list[bytes]:
    kept = {key: payload()[key] for key in ("config", "targets", "preprocessing")}
    return [json.dumps({"format": FORMAT, "schema": 1, **kept, "class_names": ["a", "b"]}).encode()]


def _read_config(content: bytes, folder: Path) -> None:
    """Read a checkpoint with any config, targets and preprocessing; build its network, and merge its config."""
    value = _parsed(content)
    if not isinstance(value, dict):
        raise ArtifactError("no JSON object")
    path = folder / "x.ckpt"
    path.write_bytes(saved({**payload(), **value}))
    nnrun.load(path)
    nnrun.compose([f"ckpt={path}", "export=none"])


def _configs() -> list[bytes]:
    kept = {key: payload()[key] for key in ("config", "targets", "preprocessing", "threads", "data_fingerprint")}
    return [json.dumps(kept).encode()]


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


@functools.cache
def _graph() -> Any:
    """Return an ONNX model with nnrun's metadata."""
    import onnx  # noqa: PLC0415 - as the program does
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 1, 2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("Flatten", ["f"], ["l"]),
        helper.make_node("MatMul", ["l", "w"], ["y"]),
    ]
    weights = numpy_helper.from_array(torch.ones(4, 2).numpy(), "w")
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in _metadata().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    assert isinstance(model, onnx.ModelProto)
    return model


def _metadata() -> dict[str, str]:
    said = {
        "class_names": payload()["targets"]["names"],
        "targets": payload()["targets"],
        "preprocessing": payload()["preprocessing"],
        "problem": {"_target_": "nnrun.components.problems.classification.Classification", "state": {}},
        "inputs": {"x": [1, 2, 2]},
    }
    return {f"nnrun.{key}": json.dumps(value) for key, value in said.items()} | {"nnrun.input_kind": "raw"}


def odd_metadata() -> bytes:
    """Return an ONNX file that has a name in its metadata which is not UTF-8."""
    return bytes(_graph().SerializeToString().replace(b"nnrun.inputs", b"nnrun.\xffnputs"))


def odd_domain() -> bytes:
    """Return an ONNX file with an operator whose domain is not UTF-8."""
    model = type(_graph())()
    model.CopyFrom(_graph())
    model.graph.node[0].domain = "QQ"
    return bytes(model.SerializeToString().replace(b"QQ", b"\xff\xfe"))


def _read_onnx(content: bytes, folder: Path) -> None:
    """Read an ONNX file; what is handed on must be read again as the same bytes."""
    path = folder / "x.onnx"
    path.write_bytes(content)
    plain = read_onnx(path).content
    path.write_bytes(plain)
    if read_onnx(path).content != plain:
        raise Differs("what was rewritten is rewritten again")


def _read_metadata(content: bytes, folder: Path) -> None:
    """Read the metadata of an ONNX file, and build what it names, as a prediction does."""
    value = _parsed(content)
    if not isinstance(value, dict):
        raise ArtifactError("no JSON object")
    path = folder / "x.onnx"
    facts = facts_of({f"nnrun.{key}": json.dumps(item) for key, item in value.items()}, path)
    check_trust({"problem": facts.problem}, ())
    problem = build(facts.problem, "problem", Problem, facts.targets)  # type: ignore[type-abstract]
    load_fitted(problem, facts.fitted, path)
    columns_in(facts.preprocessing, path)
    preprocessing_of(facts.preprocessing, ())


def _metadatas() -> list[bytes]:
    values = {key.removeprefix("nnrun."): value for key, value in _metadata().items()}
    values = {key: json.loads(value) if key != "input_kind" else value for key, value in values.items()}
    regression = {"_target_": "nnrun.components.problems.regression.Regression"}
    state = {"mean": [0.5], "deviation": [2.0]}
    of_values = {"targets": {"kind": "values", "names": ["v"]}, "problem": {**regression, "state": state}}
    rest = {key: value for key, value in values.items() if key != "class_names"}
    return [json.dumps(values).encode(), json.dumps({**rest, **of_values}).encode()]


_JSON = (
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"-1",
    b"1e999",
    b"NaN",
    b"Infinity",
    b'"\\ud800"',
    b"[[[[[[[[",
    b"99999999999999999999",
)
_KEYS = tuple(f'"{key}":'.encode() for key in ("_target_", "kind", "names", "mean", "std", "hidden", "files", "best"))
_OPCODES = (
    b"}(",
    b"u.",
    b"s.",
    b"\x85R",
    b"\x86R",
    b")R",
    b"Q",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
)

TARGETS = (
    Target("pickles", _pickles, _read_pickled, words=_OPCODES),
    Target("zips", lambda: [saved(_many_kinds()), saved({"model": {"w": torch.ones(2)}})], _read_file),
    Target(
        "safetensors", _safetensors, _read_safetensors, words=(*_JSON, b'"dtype":', b'"shape":', b'"data_offsets":')
    ),
    Target("manifests", _manifests, _read_manifest, words=_JSON + _KEYS),
    Target("cards", _cards, _read_card, (ArtifactError, ConfigError), _JSON + _KEYS),
    Target("configs", _configs, _read_config, (ArtifactError, ConfigError), _JSON + _KEYS),
    Target("onnx", lambda: [_graph().SerializeToString()], _read_onnx),
    Target("onnx_metadata", _metadatas, _read_metadata, (ArtifactError, ConfigError), _JSON + _KEYS),
)
