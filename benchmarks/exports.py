"""Export every family of networks in every format, and report the result of each pair.

    make bench-exports                     write the table to docs/deploy.md
    python benchmarks/exports.py           print the table
    python benchmarks/exports.py mlp cnn   only these families

Each network is trained briefly on the digits and exported by the public command line; the figures come from its
verification.json files. The exit code is 1 if an artifact was rejected: it was made, but differs from the network.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import OtherWork, machine
from nnrun.cli import main as nnrun
from report import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "deploy.md"
BEGIN, END = "<!-- made by make bench-exports -->\n", "<!-- end -->\n"
FORMATS = ("onnx", "onnx_int8", "torchscript", "pt2", "safetensors", "torchserve")
WORDS = ("data.limit=800", "data.batch_size=32", "optimizer.lr=2e-3", "trainer.progress=false", "trainer.device=cpu")
FAMILIES: dict[str, list[str]] = {
    "mlp": ["model=mlp"],
    "cnn": ["model=cnn"],
    "cnn, batchnorm and dropout": ["model=cnn", "model.batchnorm=true", "model.dropout=0.3"],
    "vgg": ["model=vgg"],
    "resnet18": ["model=resnet18"],
    **{
        name: ["model=torchvision", f"model.name={name}"]
        for name in ("mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5", "regnet_y_400mf", "swin_t")
    },
    "a path that depends on the data": ["model=branching"],
}
if importlib.util.find_spec("timm"):
    FAMILIES["timm resnet18d"] = ["model=timm", "model.name=resnet18d"]

BRANCHING_YAML = """\
# Scores are doubled if their sum is positive.
#   nnrun model=branching
_target_: branching.Branching
in_shape: ${data.in_shape}
num_classes: ${data.num_classes}
"""
BRANCHING = """\
import math

from torch import nn


class Branching(nn.Module):
    def __init__(self, in_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(math.prod(in_shape), num_classes)

    def forward(self, inputs):
        scores = self.head(inputs.flatten(1))
        if scores.sum() > 0:
            scores = scores * 2
        return scores
"""


@dataclass(frozen=True)
class Row:
    """The result of a family: its artifacts by format, as in summary.json."""

    family: str
    artifacts: Mapping[str, Mapping[str, Any]]
    failure: str


def export(family: str, folder: Path) -> Row:
    """Train a network briefly, and export it in every format."""
    run = folder / family.replace(" ", "_").replace(",", "")
    words = [*FAMILIES[family], *WORDS, "trainer.epochs=2", f"export=[{','.join(FORMATS)}]", f"hydra.run.dir={run}"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        nnrun(words)
    summary = run / "summary.json"
    if not summary.exists():
        return Row(family, {}, err.getvalue().strip())
    return Row(family, json.loads(summary.read_text())["artifacts"], "")


def cell(artifact: Mapping[str, Any] | None, reasons: list[str]) -> str:
    """Return the result of a family in a format; a reason is given by its number in `reasons`."""
    if artifact is None:
        return "-"
    if artifact["ok"]:
        lost = artifact["metric_eager"] - artifact["metric_artifact"]
        near = f"accuracy {round(-lost, 3) + 0.0:+.3f}" if artifact["tolerance"] is None else _difference(artifact)
        return f"{near}, {artifact['latency_ms_batch_1']:.2f} ms"
    reason = artifact["reason"].removeprefix("it cannot be exported: ")
    if reason not in reasons:
        reasons.append(reason)
    verdict = "refused" if artifact["num_samples"] == 0 else "**rejected**"
    return f"{verdict} ({reasons.index(reason) + 1})"


def _difference(artifact: Mapping[str, Any]) -> str:
    """Return the largest difference of a score."""
    return f"{artifact['max_abs_diff']:.0e}" if artifact["max_abs_diff"] else "0"


def page(rows: Sequence[Row], other_work: OtherWork) -> str:
    """Return the table and its reasons as markdown."""
    reasons: list[str] = []
    cells = []
    for row in rows:
        eager = next((a["latency_ms_batch_1_eager"] for a in row.artifacts.values() if a["ok"]), None)
        shown = f"{eager:.2f} ms" if eager is not None else "-"
        cells.append([row.family, shown, *(cell(row.artifacts.get(name), reasons) for name in FORMATS)])
    numbered = "".join(f"{number}. {reason}\n" for number, reason in enumerate(reasons, 1))
    failed = "".join(f"\n{row.family}: {row.failure}\n" for row in rows if row.failure)
    return f"{table(['', 'PyTorch', *FORMATS], cells)}\n\n{numbered}{failed}\n{machine()}. {other_work.sentence()}\n"


def main(arguments: list[str]) -> int:
    """Export, and print the table or write it to docs/deploy.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"default: all of {', '.join(FAMILIES)}")
    parser.add_argument("--write", action="store_true", help="write docs/deploy.md too")
    options = parser.parse_args(arguments)
    if unknown := set(options.families) - set(FAMILIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the families are {', '.join(FAMILIES)}")
    if options.families and options.write:
        parser.error("--write needs all families: name none")
    rows, other_work = [], OtherWork()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "conf" / "model").mkdir(parents=True)
        (folder / "conf" / "model" / "branching.yaml").write_text(BRANCHING_YAML)
        (folder / "branching.py").write_text(BRANCHING)
        for family in options.families or FAMILIES:
            print(family, file=sys.stderr, flush=True)
            rows.append(export(family, folder))
    text = page(rows, other_work)
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    artifacts = [artifact for row in rows for artifact in row.artifacts.values()]
    return int(any(not artifact["ok"] and artifact["num_samples"] for artifact in artifacts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
