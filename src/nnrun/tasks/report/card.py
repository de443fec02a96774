"""MODEL_CARD.md: a model card in the form of Hugging Face, from the same data as the report, without paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nnrun.base.shown import Table, counted, metric_text
from nnrun.base.visible import visible
from nnrun.config.yaml_files import yaml_text
from nnrun.tasks.report.data_section import NONE, class_balance, leakage, section_data
from nnrun.tasks.report.read import RunRead, is_number, mapping
from nnrun.tasks.report.results import SPLITS, gain_of, main_result
from nnrun.tasks.report.settings import section_environment

# Characters with a meaning in Markdown or in HTML.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
_NUM_IMAGE_DIMS = 3
# Fewer test samples of a class than this, or a ratio of class sizes above that, is a limitation.
_FEW, _RATIO = 10, 3
_NUM_WEAKEST = 5
_TO_WRITE = "*To be written:"


def card_of(run: RunRead) -> str:
    """Return the model card of a run; `run` must be without paths and samples (`without_private`)."""
    sections = [
        f"# {plain(run.title)}",
        *_description(run),
        "## Intended use",
        f"{_TO_WRITE} what the network is for, who may use it, and what it must not be used for.*",
        "## Training data",
        *_training_data(run),
        "## Evaluation",
        *_evaluation(run),
        "## How to use",
        *_usage(run),
        "## Limitations",
        "\n".join(f"- {plain(text)}" for text in limitations(run)),
        f"{_TO_WRITE} limits that this data cannot show, such as other cameras, places or groups of people.*",
        "## Environment",
        *(table for shown in section_environment(run).shown if isinstance(shown, Table) for table in [_table(shown)]),
    ]
    return f"---\n{yaml_text(front_matter(run))}---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def front_matter(run: RunRead) -> dict[str, Any]:
    """Return the metadata that Hugging Face reads from the head of a card."""
    task = task_type(run)
    tested = {key.partition("/")[2]: value for key, value in run.metrics.items() if key.startswith("test/")}
    names = sorted(tested, key=lambda name: name != run.headline)
    found: dict[str, Any] = {"library_name": "nnrun", "tags": ["nnrun", "pytorch", *([task] if task else [])]}
    if not names:
        return found
    data = visible(str(run.setting("data.name") or "unknown"))
    metrics = [{"type": name, "value": round(tested[name], 6), "name": f"test {name}"} for name in names]
    result = {
        "task": {"type": task or "other"},
        "dataset": {"name": data, "type": data, "split": "test"},
        "metrics": metrics,
    }
    return found | {"metrics": names, "model-index": [{"name": visible(run.title), "results": [result]}]}


def task_type(run: RunRead) -> str | None:
    """Return what the network does, as Hugging Face calls it; None where the run's files do not say."""
    facts = mapping(run.summary.get("data"))
    kind = mapping(facts.get("targets")).get("kind") or (run.problem.kind if run.problem else None)
    shape = facts.get("in_shape")
    is_image = isinstance(shape, list) and len(shape) == _NUM_IMAGE_DIMS
    if kind is None or shape is None:
        return None
    if kind == "values":
        return "other" if is_image else "tabular-regression"
    return "image-classification" if is_image else "tabular-classification"


def _description(run: RunRead) -> Iterator[str]:
    """Yield what the network is, how it was trained, and the main result."""
    version = mapping(run.environment.get("versions")).get("nnrun")
    by = f"nnrun {version}" if version else "nnrun"
    what = {"classes": "predicts one class", "labels": "predicts labels", "values": "predicts values"}
    kind = mapping(mapping(run.summary.get("data")).get("targets")).get("kind") or (run.problem and run.problem.kind)
    does = f" It {what[kind]} for each sample." if kind in what else ""
    yield f"The network `{_code(run.setting('model._target_'))}`, trained with {plain(by)}.{does}"
    if result := main_result(run):
        yield f"Test {plain(str(run.headline))}: **{plain(result)}**."
    if run.status.get("state") not in ("finished", None):
        yield f"The training did not finish ({plain(str(run.status['state']))}): this card describes it up to then."


def _training_data(run: RunRead) -> Iterator[str]:
    """Yield the sizes and the classes of the data."""
    for shown in section_data(run).shown:
        if isinstance(shown, Table):
            yield f"**{plain(shown.title)}**\n\n{_table(shown)}"
    yield f"{_TO_WRITE} where the samples are from, and under which license.*"


def _evaluation(run: RunRead) -> Iterator[str]:
    """Yield the test metrics with the interval of the main one, and what a trivial guess gets."""
    tested = {key.partition("/")[2]: value for key, value in run.metrics.items() if key.startswith("test/")}
    if not tested:
        yield "The run has no test metrics."
        return
    names = sorted(tested, key=lambda name: name != run.headline)
    rows = [(name, main_result(run) if name == run.headline else metric_text(tested[name])) for name in names]
    yield _table(Table("", ("metric", "test split"), rows))
    if found := gain_of(run):
        baseline, gain = found
        yield (
            f"The constant prediction that is best on the training split gets {metric_text(baseline)}; the network "
            f"gains {metric_text(gain)} over it."
        )


def _usage(run: RunRead) -> Iterator[str]:
    """Yield how to load the network, and its exports."""
    yield (
        "```python\n"
        "import nnrun\n\n"
        'network = nnrun.load("RUN")  # the folder of this card, or one of its checkpoints; an nn.Module in eval mode\n'
        "inputs = network.preprocessing(samples)  # raw samples, (N, ...)\n"
        "outputs = network(inputs)\n"
        "```"
    )
    artifacts = mapping(run.summary.get("artifacts"))
    rows = [
        (name, mapping(row).get("path") or "", "verified" if mapping(row).get("ok") else "rejected")
        for name, row in artifacts.items()
    ]
    if rows:
        yield _table(Table("", ("export", "file", "proof"), rows))


def limitations(run: RunRead) -> Iterator[str]:
    """Yield the limits that the run's files show: leakage, rare and weak classes, rejected exports."""
    for what, found in leakage(run):
        if found != NONE:
            yield f"{what}: {found}"
    if (interval := run.interval) is not None:
        between = f"between {metric_text(interval[0])} and {metric_text(interval[1])}"
        yield f"with 95 % confidence, the test {run.headline} is {between}"
    for split, counts in class_balance(run).items():
        few = [name for name, count in counts.items() if count < _FEW]
        if few:
            yield (
                f"the {SPLITS[split]} split has fewer than {_FEW} samples of {counted(len(few), *_noun(run))}: "
                f"{', '.join(few[:_NUM_WEAKEST])}{', ...' if len(few) > _NUM_WEAKEST else ''}"
            )
        largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        if split == "train" and counts[largest] > _RATIO * counts[smallest]:
            yield f"imbalanced: {counts[largest]:,} training samples of {largest}, {counts[smallest]:,} of {smallest}"
    details = run.details.get("test", {})
    rows = [row for row in details.get("per_class") or details.get("per_label") or () if is_number(row.get("f1"))]
    weak = sorted(rows, key=lambda row: row["f1"])[:_NUM_WEAKEST]
    if len(rows) > 1 and weak[0]["f1"] < 1:
        names = (f"{row.get('class', row.get('label'))} (F1 {row['f1']:.3f})" for row in weak if row["f1"] < 1)
        yield f"weakest on the test split: {', '.join(names)}"
    for name, row in mapping(run.summary.get("artifacts")).items():
        if not mapping(row).get("ok"):
            yield f"the export {name} was rejected: {mapping(row).get('reason')}"
    yield "it was measured on samples like those of its test split; other data may give other results"


def _noun(run: RunRead) -> tuple[str, str]:
    """Return what one of the targets is called, and several of them."""
    return ("label", "labels") if run.problem is not None and run.problem.kind == "labels" else ("class", "classes")


def plain(text: str) -> str:
    """Return a text for Markdown, in which nothing of it is markup."""
    return _MARKUP.sub(r"\\\1", visible(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def _code(text: object) -> str:
    """Return a text for a piece of code in a line."""
    return visible(str(text)).replace("`", "'")


def _table(table: Table) -> str:
    """Return a table in Markdown; one of facts has empty titles."""
    columns = [plain(column) for column in table.columns] or ["", ""]
    lines = [columns, ["---"] * len(columns), *([plain(str(cell)) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
