"""Exact results: of a resumed run, of each place where samples can be kept, and of fp32 with and without TF32."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from nnrun.core.device import set_deterministic, set_exact
from on_gpu import savings
from on_gpu.place import Place, Row
from on_gpu.runs import read, run, stopped_at, train
from on_gpu.trainings import SHAPES, make_network

# 160 training samples in 6 batches an epoch.
SMALL = (
    *("data=digits", "data.limit=200", "data.val_fraction=0.2", "data.batch_size=30", "trainer.epochs=2"),
    *("trainer.log_every_steps=2", "trainer.deterministic=true"),
)
_RESUMED = {
    "mlp, fp32": ("model=mlp", "trainer.precision=fp32"),
    "cnn, BatchNorm, EMA, bf16, channels last": (
        *("model=cnn", "model.batchnorm=true", "trainer.precision=bf16", "trainer.channels_last=true"),
        "trainer.ema_decay=0.9",
    ),
    "cnn, fp16": ("model=cnn", "trainer.precision=fp16"),
    "cnn, trivialaugment with cutmix": ("model=cnn", "augment=[trivialaugment,cutmix]"),
    "resnet18": ("model=resnet18",),
    "cnn, Muon, skip": ("model=cnn", "optimizer=muon", "trainer.nonfinite=skip"),
}
_COMPILED = {
    "mlp, compiled": ("model=mlp", "trainer.compile=true"),
    "cnn, compiled, fp16, EMA": (
        "model=cnn",
        "trainer.compile=true",
        "trainer.precision=fp16",
        "trainer.ema_decay=0.9",
    ),
}
_DRY = ("mlp, fp32",)


def resumed(place: Place) -> Iterator[Row]:
    """Whether a stopped and resumed run is bit-identical to an uninterrupted one; another seed must differ."""
    yield from _resumed(place, _RESUMED)


def compiled(place: Place) -> Iterator[Row]:
    """Compiled networks: their steps, captured and not, and whether a resumed run has the same bits."""
    yield from savings.compiled(place)
    yield from _resumed(place, _COMPILED)


def _resumed(place: Place, cases: dict[str, tuple[str, ...]]) -> Iterator[Row]:
    """Yield a row for each case."""
    for number, (name, words) in enumerate(cases.items()):
        if (place.dry and name not in _DRY) or (not place.on_gpu and "fp16" in name):
            continue
        try:
            yield name, same_bits(place, f"{'-'.join(name.split(',')[0].split())}-{number}", (*SMALL, *words))
        except Exception as error:
            yield name, {"error": f"{type(error).__name__}: {error}"[:300]}


def same_bits(place: Place, name: str, words: tuple[str, ...], trust: str = "[]") -> dict[str, Any]:
    """Train uninterrupted, stopped and resumed, and with another seed; compare the rows and the last checkpoints."""
    folder, device = place.folder, str(place.device)
    train(folder, f"{name}-whole", *words, device=device)
    with stopped_at(10):
        code, said = run(folder, *words, "export=none", f"hydra.run.dir={folder / name}", device=device)
    if code != 143:
        raise RuntimeError(f"stopped with {code}: {said}")
    code, said = run(folder, f"resume={folder / name}", f"trust={trust}", device=device)
    if code != 0:
        raise RuntimeError(f"resumed with {code}: {said}")
    train(folder, f"{name}-other", *words, "seed=1", device=device)

    def seen(run_name: str) -> tuple[bytes, str]:
        last = read(folder / run_name / "checkpoints" / "manifest.json")["last"]
        return (folder / run_name / "metrics.jsonl").read_bytes(), last

    return {
        "same_bits": seen(name) == seen(f"{name}-whole"),
        "another_seed_differs": seen(f"{name}-other") != seen(name),
    }


def residency(place: Place) -> Iterator[Row]:
    """Samples per second from the device, from memory, and streamed; all must be bit-identical."""
    rows = {}
    data = ("data=digits",) if place.root is None or place.dry else ("data=mnist", f"data.root={place.root}")
    for where, workers in (("device", 0), ("memory", 0), ("stream", 2)):
        words = [*data, "model=cnn", f"data.residency={where}", f"data.num_workers={workers}", "early_stopping=none"]
        for turn in ("cold", "warm") if where == "device" else ("warm",):  # only the first run loads kernels
            more = ["trainer.epochs=100", f"trainer.max_steps={place.steps(200 if turn == 'warm' else 20)}"]
            summary = train(place.folder, f"{where}-{turn}", *words, *more, device=str(place.device))
        name = f"{where}-bits"
        train(place.folder, name, *SMALL, "model=cnn", *words[-3:], device=str(place.device))
        rows[where] = (place.folder / name / "metrics.jsonl").read_bytes()
        speed = {"samples_per_second": summary["train"]["samples_per_second"]}
        yield where, speed | {"bits_as_from_device": rows[where] == rows["device"]}


def tf32(place: Place) -> Iterator[Row]:
    """The error of a network's scores against fp64, with and without TF32, and in fp32 on the CPU."""
    for name, shape in SHAPES.items() if not place.dry else [("cnn", SHAPES["cnn"])]:
        network = make_network(name).eval()
        inputs = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            exact = copy.deepcopy(network).double()(inputs.double())
            yield f"{name}, fp32 on the CPU", _error(network(inputs), exact)
            there, given = network.to(place.device), inputs.to(place.device)
            for is_on in (True, False):
                set_exact()
                if is_on:
                    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
                    torch.backends.cuda.matmul.fp32_precision = "tf32"
                yield f"{name}, TF32 {'on' if is_on else 'off'}", _error(there(given).cpu(), exact)
    set_deterministic(False)
    set_exact()


def _error(scores: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Return the largest difference, relative to the largest score."""
    return {"largest_relative_error": float((scores.double() - exact).abs().max() / exact.abs().max())}
