"""The section of a report on the data: its splits and classes, leakage, and what was skipped or left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart, Section, Shown, Table, Text
from nnrun.tasks.report.read import LEFT_OUT, RunRead, is_number, mapping
from nnrun.tasks.report.results import SPLITS

# With more classes, the largest and the smallest are listed; and the number of file names that are listed.
_MOST_CLASSES, _MOST_NAMED = 40, 50
# Columns of a table whose distribution is drawn: those that differ most between the splits.
_MOST_CHARTS = 4
# Facts of `summary.data`, with what a count of them means.
_LEFT_OUT = {
    "skipped": "samples that cannot be read, skipped (data.on_bad=skip)",
    "missing": "samples without a file, skipped",
    "unlabelled": "images without a label, not used",
    "other_files": "files that are not images, not used",
    "hidden_files": "hidden files, not used",
    "several_pictures": "files with several pictures, of which the first is used",
    "texts_cut": "texts that were cut to data.max_length tokens",
    "tokens_cut": "tokens that were cut off",
    "texts_empty": "texts without a token",
}
_CHANGED = {
    "converted": "images converted to another kind of pixels",
    "resized": "images resized",
    "cropped": "images cropped",
    "large_jpegs": "large JPEG files, decoded at a smaller size",
}
NONE = "none"


def section_data(run: RunRead) -> Section:
    """Return the sizes of the splits, the balance of the classes, leakage, and what was skipped or left out."""
    facts = mapping(run.summary.get("data"))
    shown: list[Shown] = []
    if rows := [*_source(run), *_sizes(run, facts)]:
        shown.append(Table("Samples", (), rows))
    if balance := class_balance(run):
        shown += _balance(balance, run)
    if columns := list(_columns(facts)):
        shown.append(Table("Columns", ("column", "kind", "left out"), columns))
    shown += _by_column(facts)
    if rows := list(leakage(run)):
        shown.append(Table("Leakage", (), rows))
    if rows := [*_counts(facts, _LEFT_OUT), *_counts(facts, _CHANGED)]:
        shown.append(Table("Skipped, left out or converted", (), rows))
    if run.named:
        more = f"\nand {len(run.named) - _MOST_NAMED:,} more, in run.log" if len(run.named) > _MOST_NAMED else ""
        shown.append(Text("By name", "\n".join(run.named[:_MOST_NAMED]) + more, is_code=True))
    return Section("Data", shown or [Text("", "The run's files say nothing about its data.")])


def _source(run: RunRead) -> Iterator[tuple[str, object]]:
    """Yield where the samples are from, and their shape."""
    yield from [("data set", name)] if (name := run.setting("data.name")) else []
    root = run.setting("data.dataset.root")
    yield from [("read from", root)] if isinstance(root, str) and root != LEFT_OUT else []
    shape = mapping(run.summary.get("data")).get("in_shape")
    yield from [("shape of a sample", _shape_text(shape))] if shape else []
    mean, longest = (mapping(run.summary.get("data")).get(key) for key in ("mean_length", "longest_text"))
    if is_number(mean) and is_number(longest):
        yield "tokens of a text", f"{mean:,} on average, {longest:,} at most"


def _shape_text(shape: object) -> str:
    """Return the shape of a sample as text: of one tensor, or of each by its name."""
    if isinstance(shape, Mapping):
        return ", ".join(f"{name} {_shape_text(of)}" for name, of in shape.items())
    if isinstance(shape, list):
        if all(isinstance(of, int) or of is None for of in shape):
            return " x ".join("any length" if of is None else str(of) for of in shape) or "a number"
        return ", ".join(map(_shape_text, shape))
    return str(shape)


def _columns(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the columns of a table: the kind of each that is learned from, and why the others are left out."""
    yield from [(str(name), str(kind), "") for name, kind in mapping(facts.get("columns")).items()]
    yield from [(str(name), "", str(why)) for name, why in mapping(facts.get("left_out")).items()]


def _sizes(run: RunRead, facts: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the number of samples of each split, and how it was made; the targets; and the sizes of images."""
    splits, balance = mapping(facts.get("splits")), class_balance(run)
    # Each sample has exactly one class: those of the classes add up.
    adds_up = any("per_class" in details for details in run.details.values())
    for split in ("train", "valid", "test"):
        known = mapping(splits.get(split))
        number = known.get("samples", sum(balance.get(split, {}).values()) if adds_up else None)
        if is_number(number) and number:
            drawn = f", held out by nnrun (data.split_seed={run.setting('data.split_seed')})"
            yield f"{SPLITS[split]} split", f"{number:,} samples{drawn if known.get('drawn') else ''}"
    targets = mapping(facts.get("targets"))
    if isinstance(names := targets.get("names"), list):
        more = ", ..." if len(names) > _MOST_CLASSES else ""
        yield str(targets.get("kind")), f"{len(names):,}: {', '.join(map(str, names[:_MOST_CLASSES]))}{more}"
    sizes = {str(size): number for size, number in mapping(facts.get("sizes")).items() if is_number(number)}
    if sizes:
        yield "sizes of images", ", ".join(f"{size} ({number:,})" for size, number in sizes.items())


def class_balance(run: RunRead) -> dict[str, dict[str, int]]:
    """Return the number of samples of each class or label, by split; empty for values.

    A run of an earlier version knows only the splits that it evaluated.
    """
    facts = mapping(run.summary.get("data"))
    names = mapping(facts.get("targets")).get("names")
    found: dict[str, dict[str, int]] = {}
    for split, known in mapping(facts.get("splits")).items():
        counts = mapping(known).get("counts")
        if isinstance(counts, list) and isinstance(names, list) and len(counts) == len(names):
            found[split] = {
                str(name): count for name, count in zip(names, counts, strict=True) if isinstance(count, int)
            }
    for split, details in run.details.items():
        if split not in found and (rows := _per_class(details)):
            found[split] = {str(row.get("class", row.get("label"))): row["samples"] for row in rows}
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def _per_class(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of a split that count the samples of a class or label."""
    rows = details.get("per_class") or details.get("per_label")
    return [row for row in rows if is_number(mapping(row).get("samples"))] if isinstance(rows, list) else []


def _balance(balance: Mapping[str, Mapping[str, int]], run: RunRead) -> list[Shown]:
    """Return the samples of each class as bars and as a table; of many classes, the largest and the smallest."""
    counts = next(iter(balance.values()))
    names, title = list(counts), "Class balance"
    if len(names) > _MOST_CLASSES:
        ordered, half = sorted(names, key=lambda name: -counts[name]), _MOST_CLASSES // 2
        names, title = [*ordered[:half], *ordered[-half:]], f"Class balance: the {half} largest and {half} smallest"
    noun = "label" if run.problem is not None and run.problem.kind == "labels" else "class"
    splits = [SPLITS[split] for split in balance]
    rows = [(name, *(known.get(name, 0) for known in balance.values())) for name in names]
    largest, smallest = (pick(counts, key=lambda name: counts[name]) for pick in (max, min))
    summary = f"largest {largest} ({counts[largest]:,}), smallest {smallest} ({counts[smallest]:,}) in {splits[0]}"
    series = {SPLITS[split]: [known.get(name, 0) for name in names] for split, known in balance.items()}
    chart = Chart(title, "bars", names, series, x_label=noun, y_label="samples")
    return [chart, Table("Samples by class" if noun == "class" else "Samples by label", (noun, *splits), rows, summary)]


def _by_column(facts: Mapping[str, Any]) -> list[Shown]:
    """Return how far the columns of a table differ between splits, the most first, and charts of these."""
    about = {str(name): of for name, of in mapping(facts.get("distributions")).items() if _is_distribution(mapping(of))}
    if not about:
        return []
    order = sorted(about, key=lambda name: -max(about[name]["psi"].values(), default=0.0))
    parts = [part for part in ("valid", "test") if part in about[order[0]]["psi"]]
    rows = [(name, *(f"{about[name]['psi'].get(part, 0):.3f}" for part in parts)) for name in order]
    title = "Population stability index of each column against the training split"
    summary = "less what it may be by chance; below 0.1 is alike, above 0.25 different"
    shown: list[Shown] = [Table(title, ("column", *(SPLITS[part] for part in parts)), rows, summary)]
    for name in order[:_MOST_CHARTS]:
        counts = {part: of for part, of in about[name]["counts"].items() if sum(of)}
        series = {SPLITS[part]: [number / sum(of) for number in of] for part, of in counts.items() if part in SPLITS}
        shown.append(
            Chart(f"Column {name}", "bars", about[name]["bins"], series, x_label=name, y_label="share of rows")
        )
    return shown


def _is_distribution(of: Mapping[str, Any]) -> bool:
    """Return whether what a file says of a column can be shown."""
    counts, psi, bins = mapping(of.get("counts")), mapping(of.get("psi")), of.get("bins")
    numbers = [each for each in counts.values() if isinstance(each, list) and all(map(is_number, each))]
    return (
        isinstance(bins, list)
        and len(numbers) == len(counts) > 0
        and all(len(each) == len(bins) for each in numbers)
        and all(map(is_number, psi.values()))
    )


def leakage(run: RunRead) -> Iterator[tuple[str, str]]:
    """Yield what is known of samples that are in two splits, a row for each pair."""
    facts = mapping(run.summary.get("data"))
    for split in ("test", "valid"):
        number = facts.get(f"in_train_and_{split}")
        if is_number(number):
            found = f"{number:,}, value for value: the {SPLITS[split]} metrics are inflated" if number else NONE
            yield f"samples in the training and the {SPLITS[split]} split", found
        if is_number(number := facts.get(f"seen_left_out_of_{split}")) and number:
            yield f"samples that the network has seen, left out of the {SPLITS[split]} split", f"{number:,}"
    for name, why in mapping(facts.get("telling")).items():
        yield f"column {name}", f"alone tells the target: {why} in the training split"
    if facts.get("other_data"):
        yield "other data", "the network was trained on other data than this"


def _counts(facts: Mapping[str, Any], words: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return the counts that are not 0, each with what it counts."""
    return [(what, f"{facts[key]:,}") for key, what in words.items() if is_number(facts.get(key)) and facts[key]]
