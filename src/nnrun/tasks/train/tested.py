"""The test's results for each sample, saved in the run directory, and the costliest mistakes by name."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nnrun.assembly.network import Measured
from nnrun.base.paths import expanded
from nnrun.base.sample_results import SampleResults
from nnrun.components.callbacks.mistakes import pass_pictures
from nnrun.config.schema import RunSettings
from nnrun.core.seams.data import Split
from nnrun.core.seams.problem import Problem
from nnrun.runs.samples import MOST_LETTERS, SAMPLES_NAME, write_samples
from nnrun.tasks.session import Session
from nnrun.tasks.train.pictures import pictures_of

# If there are more classes than the first number, only the most probable ones of each sample are kept.
_MOST_CLASSES, _MOST_PROBABLE = 20, 10
# Maximum size of all rows before compression.
_MOST_BYTES = 2**25
# Size of a row without its targets and predictions: an index, a loss, a class, whether it is right.
_ROW_BYTES = 17
_NUM_SHOWN = 3
# Number of the costliest samples whose pictures or texts are kept.
_NUM_PICTURES = 24


def keep_samples(
    problem: Problem, test: Split, measured: Measured, session: Session, settings: RunSettings
) -> list[str]:
    """Write the test's results for each sample to the run directory; return the costliest mistakes, a line each.

    There are lines only if samples have names: paths, given without the data's `root`. Loggers receive the pictures,
    unless the report shows none. The run's log says what was too large to keep.
    """
    console = session.console
    if "test" not in measured.details:
        return []
    if measured.test_outputs is None or measured.test_losses is None:
        console.record(f"{SAMPLES_NAME} is not written: the outputs of the test samples are too large to keep")
        return []
    predictions = problem.predictions(problem.scores(measured.test_outputs))
    samples = results_of(problem, test, predictions, measured.test_losses)
    indices = samples.indices[samples.costliest(_NUM_PICTURES)].tolist()
    samples = replace(samples, pictures=pictures_of(test, indices), texts=_texts_of(test, indices))
    write_samples(samples, session.out.path)
    if settings.shows_samples:
        pass_pictures(session.loggers, samples, session.reached.train.get("steps") or 0)
    if len(samples.indices) < samples.num_samples:
        console.record(
            f"{SAMPLES_NAME} contains the {len(samples.indices):,} of {samples.num_samples:,} test samples with the "
            "largest losses"
        )
    below = f"{expanded(settings.data.root or '.').absolute()}/"
    return [line.removeprefix(below) for line in costliest(problem, test, predictions, measured.test_losses)]


def _texts_of(test: Split, indices: list[int]) -> dict[int, str]:
    """Return samples as texts for people, by position in the split, if they are texts or rows of a table."""
    if test.given is None or not indices:
        return {}
    words = test.given.subset(torch.tensor(indices)).words()
    cut = [text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 4]} ..." for text in words]
    return dict(zip(indices, cut, strict=True))


def results_of(
    problem: Problem, test: Split, predictions: Tensor, losses: Tensor, most_bytes: int = _MOST_BYTES
) -> SampleResults:
    """Return the results to keep: of all samples, or, if these take too much space, of the costliest."""
    is_classes, is_labels = problem.kind == "classes", problem.kind == "labels"
    num_columns = predictions.shape[1]
    is_cut = is_classes and num_columns > _MOST_CLASSES
    value_bytes = {"classes": 2, "labels": 3, "values": 4}[problem.kind]
    prediction_bytes = _MOST_PROBABLE * 6 if is_cut else num_columns * value_bytes
    most = max(1, most_bytes // (_ROW_BYTES + prediction_bytes + test.targets[:1].nbytes))
    order = losses.argsort(descending=True, stable=True)[:most].sort().values  # NaN counts as the largest
    targets, predictions = test.targets[order], predictions[order]
    decided = problem.decided(predictions)
    kept, columns = predictions.topk(_MOST_PROBABLE, dim=1) if is_cut else (predictions, None)
    return SampleResults(
        kind=problem.kind,
        names=problem.targets.names,
        num_samples=len(test),
        indices=order.numpy(),
        targets=(targets.byte() if is_labels else targets).numpy(),
        predictions=(kept if problem.kind == "values" else kept.half()).numpy(),
        losses=losses[order].numpy(),
        are_right=problem.are_right(predictions, targets).numpy(),
        columns=None if columns is None else columns.int().numpy(),
        predicted=(predictions.argmax(1) if decided is None else decided).int().numpy() if is_classes else None,
        predicted_labels=decided.byte().numpy() if is_labels and decided is not None else None,
        paths=None if test.names is None else tuple(test.names[index] for index in order.tolist()),
    )


def costliest(problem: Problem, test: Split, predictions: Tensor, losses: Tensor) -> list[str]:
    """Return the mistakes with the largest losses, a line each: the sample's name, its target, its prediction.

    Nothing for samples without names.
    """
    if test.names is None:
        return []
    wrong = (~problem.are_right(predictions, test.targets)).nonzero().flatten()
    order = wrong[losses[wrong].argsort(descending=True, stable=True)][:_NUM_SHOWN].tolist()
    said = [(test.names[i], problem.compare(predictions[i], predictions[i], test.targets[i])) for i in order]
    return [f"{name} is {words['target']}, predicted {words['eager']}" for name, words in said]
