"""Show a network as a tree of layers that fits a terminal of 80 columns, and the findings about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from nnrun.base.visible import few
from nnrun.runs.sheet import Sheet
from nnrun.tasks.inspect.cost import Layer
from nnrun.tasks.inspect.examine import NetworkReport
from nnrun.tasks.inspect.gradients import Proof
from nnrun.tasks.inspect.overfit import Overfit

# Without inspect.depth, the tree is as deep as fits into this number of rows.
_MOST_ROWS = 50
# Minimum width of the column with the tree, on a narrow terminal.
_LEAST_LAYER_WIDTH = 28
_PREFIXES = ("", "k", "M", "G", "T", "P")


def layer_table(root: Layer, batch_size: int, depth: int | None) -> tuple[Sheet, int | None]:
    """Return the layers as a table, and the depth of the tree if some of it is not shown, else None.

    Consecutive layers that differ only in their names share a row.
    """
    deepest = _depth_of(root)
    if depth is None:
        fits = [tried for tried in range(1, deepest + 1) if len(list(_rows(root, batch_size, tried))) <= _MOST_ROWS]
        depth = max(fits, default=1)
    table = Sheet(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("layer", no_wrap=True, overflow="ellipsis", least_width=_LEAST_LAYER_WIDTH)
    table.add_column("output", no_wrap=True, importance=1)
    table.add_column("parameters", no_wrap=True, justify="right")
    table.add_column("FLOPs", no_wrap=True, justify="right", importance=2)
    for row in _rows(root, batch_size, depth):
        table.add_row(*row)
    return table, deepest if depth < deepest else None


def _depth_of(layer: Layer) -> int:
    """Return the number of levels below the root of a tree."""
    return 1 + max(map(_depth_of, layer.children)) if layer.children else 0


def _rows(root: Layer, batch_size: int, depth: int) -> Iterator[tuple[Text, str, str, str]]:
    """Yield the rows of a tree down to a depth, the root's first."""
    yield _row(Text(root.kind, style="bold"), [root], batch_size)
    yield from _rows_below(root, batch_size, depth, "")


def _rows_below(layer: Layer, batch_size: int, depth: int, prefix: str) -> Iterator[tuple[Text, str, str, str]]:
    """Yield the rows of a layer's sublayers, each after `prefix`."""
    if depth == 0:
        return
    groups = [list(group) for _, group in groupby(layer.children, key=_likeness)]
    for number, group in enumerate(groups, 1):
        is_last = number == len(groups)
        name = group[0].leaf_name + (f"…{group[-1].leaf_name}" if len(group) > 1 else "")
        title = Text(prefix + ("└─ " if is_last else "├─ "), style="dim")
        title.append(name, style="cyan").append(f"  {_times(len(group))}{group[0].kind}", style="not dim")
        yield _row(title, group, batch_size)
        yield from _rows_below(group[0], batch_size, depth - 1, prefix + ("   " if is_last else "│  "))


def _likeness(layer: Layer) -> tuple[object, ...]:
    """Return everything that is shown of a layer and its sublayers, except its own name."""
    below = tuple((child.leaf_name, _likeness(child)) for child in layer.children)
    numbers = (layer.parameters, layer.trainable, layer.flops, layer.calls)
    return (layer.kind, *numbers, tuple(layer.output_shape or ()), below)


def _row(title: Text, group: Sequence[Layer], batch_size: int) -> tuple[Text, str, str, str]:
    """Return the row of a group of identical layers."""
    layer, times = group[0], _times(len(group))
    shape = layer.output_shape
    output = "not called" if not layer.calls else ""
    if shape is not None:
        output = "×".join(map(str, shape[1:] if shape[:1] == [batch_size] else shape)) or "1"
    output += f" ({layer.calls} calls)" if layer.calls > 1 else ""
    parameters = f"{times}{layer.parameters:,}" if layer.parameters else ""
    frozen = " frozen" if layer.parameters and not layer.trainable else ""
    flops = f"{times}{figure(layer.flops / batch_size)}" if layer.flops else ""
    return title, output, parameters + frozen, flops


def _times(count: int) -> str:
    """Return `3 × ` for three, and nothing for one."""
    return f"{count} × " if count > 1 else ""


def figure(value: float) -> str:
    """Return a number with three significant digits: `5.26 M`."""
    step = 0
    while value >= 999.5 and step < len(_PREFIXES) - 1:
        value, step = value / 1000, step + 1
    digits = 0 if step == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {_PREFIXES[step]}".rstrip()


def size(num_bytes: int) -> str:
    """Return a number of bytes with three significant digits: `5.26 MB`."""
    number, _, prefix = figure(num_bytes).partition(" ")
    return f"{number} {prefix}B"


def network_table(report: NetworkReport) -> Sheet:
    """Return a table of the findings about a network."""
    cost, memory, batch_size = report.cost, report.memory, report.batch_size
    root = cost.root
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    trains = "all trainable" if root.trainable == root.parameters else f"{root.trainable:,} of them trainable"
    table.add_row("parameters", f"{root.parameters:,}, {trains}")
    forward, backward = (flops / batch_size for flops in (cost.forward_flops, cost.backward_flops))
    step = figure(cost.forward_flops + cost.backward_flops)
    table.add_row(
        "FLOPs",
        f"{figure(forward)} forward, {figure(backward)} backward for a sample; {step} for a batch of {batch_size} "
        "(a multiply-add counts as two; only products, convolutions and attention are counted)",
    )
    parts = ("weights", "gradients", "optimizer", "average", "activations", "batch")
    sizes = ", ".join(f"{part} {size(getattr(memory, part))}" for part in parts if getattr(memory, part))
    again = "; and for a moment what a layer computes again (trainer.recompute)" if report.recomputes else ""
    table.add_row("memory", f"{size(memory.total)} for a step with a batch of {batch_size}: {sizes}{again}")
    for title, text, style in _gradient_rows(report.proof):
        table.add_row(title, text, style=style)
    if report.overfit is not None:
        style = None if report.overfit.reached else "red"
        table.add_row("overfit", _overfit_line(report.overfit, batch_size), style=style)
    return table


def _gradient_rows(proof: Proof) -> Iterator[tuple[str, str, str | None]]:
    """Yield the findings about the gradients: a title, a text and its style."""
    if proof.ok:
        yield "gradients", f"finite for every trainable parameter; loss {proof.loss:.4f}", None
    for title, names, style in (
        ("no gradient", proof.missing, "red"),
        ("NaN or inf", proof.not_finite, "red"),
        ("zero", proof.zero, "red"),
        ("late", proof.late, None),
        ("vanishing", proof.vanishing, "yellow"),
    ):
        if names:
            remark = {
                "late": ": zero in the first step but not in the second",
                "vanishing": ": less than a millionth of the largest",
            }.get(title, "")
            yield title, few(names) + remark, style


def _overfit_line(learned: Overfit, batch_size: int) -> str:
    """Return whether the network overfits the batch."""
    losses = f"loss {learned.first_loss:.4f} to {learned.last_loss:.4f}"
    if learned.reached:
        return f"overfits one batch of {batch_size} in {learned.steps} steps, {losses}"
    return f"does not overfit one batch of {batch_size} in {learned.steps} steps: {learned.score:.1%}, {losses}"
