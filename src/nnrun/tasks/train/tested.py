"""What the test says of single samples: kept in the run directory, and the costliest mistakes by name."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from nnrun.assembly.network import Measured
from nnrun.base.paths import expanded
from nnrun.core.seams.data import Split
from nnrun.core.seams.problem import Problem
from nnrun.runs.samples import SAMPLES_NAME, SampleResults
from nnrun.tasks.session import Session

# Of more classes than this, so many of the most probable are kept.
_MOST_CLASSES, _MOST_PROBABLE = 20, 10
# What all rows may take, before they are packed.
_MOST_BYTES = 2**25
# What a row takes besides its targets and predictions: an index, a loss, a class, whether it is right.
_ROW_BYTES = 17
_NUM_SHOWN = 3


def keep_samples(
    problem: Problem, test: Split, measured: Measured, session: Session, root: str | Path | None
) -> list[str]:
    """Write the test's results, sample by sample, into a run directory; return the costliest mistakes, a line each.

    These are named only where samples have names: paths, without the data's `root`. What is not kept, for want of
    room, stands in the run's log.
    """
    console = session.console
    if measured.test_outputs is None or measured.test_losses is None:
        console.record(f"{SAMPLES_NAME} is not written: the outputs of the test samples are too large to be kept")
        return []
    predictions = problem.predictions(problem.scores(measured.test_outputs))
    samples = results_of(problem, test, predictions, measured.test_losses)
    samples.write(session.out.path)
    if len(samples.indices) < samples.num_samples:
        console.record(
            f"{SAMPLES_NAME} holds the {len(samples.indices):,} of {samples.num_samples:,} test samples with the "
            "largest losses"
        )
    below = f"{expanded(root or '.').absolute()}/"
    return [line.removeprefix(below) for line in costliest(problem, test, predictions, measured.test_losses)]


def results_of(
    problem: Problem, test: Split, predictions: Tensor, losses: Tensor, most_bytes: int = _MOST_BYTES
) -> SampleResults:
    """Return what is kept of a test: of each sample, or, where these take too much room, of the costliest."""
    is_classes = problem.kind == "classes"
    num_columns = predictions.shape[1]
    is_cut = is_classes and num_columns > _MOST_CLASSES
    prediction_bytes = _MOST_PROBABLE * 6 if is_cut else num_columns * (4 if problem.kind == "values" else 2)
    most = max(1, most_bytes // (_ROW_BYTES + prediction_bytes + test.targets[:1].nbytes))
    order = losses.argsort(descending=True, stable=True)[:most].sort().values  # NaN counts as the largest
    targets, predictions = test.targets[order], predictions[order]
    kept, columns = predictions.topk(_MOST_PROBABLE, dim=1) if is_cut else (predictions, None)
    return SampleResults(
        kind=problem.kind,
        names=problem.targets.names,
        num_samples=len(test),
        indices=order.numpy(),
        targets=(targets.byte() if problem.kind == "labels" else targets).numpy(),
        predictions=(kept if problem.kind == "values" else kept.half()).numpy(),
        losses=losses[order].numpy(),
        are_right=problem.are_right(predictions, targets).numpy(),
        columns=None if columns is None else columns.int().numpy(),
        predicted=predictions.argmax(1).int().numpy() if is_classes else None,
        paths=None if test.names is None else tuple(test.names[index] for index in order.tolist()),
    )


def costliest(problem: Problem, test: Split, predictions: Tensor, losses: Tensor) -> list[str]:
    """Return the mistakes with the largest losses, a line each: the sample's name, what it is, what is said of it.

    Of samples that have no names there is nothing to say.
    """
    if test.names is None:
        return []
    wrong = (~problem.are_right(predictions, test.targets)).nonzero().flatten()
    order = wrong[losses[wrong].argsort(descending=True, stable=True)][:_NUM_SHOWN].tolist()
    said = [(test.names[i], problem.compare(predictions[i], predictions[i], test.targets[i])) for i in order]
    return [f"{name} is {words['target']}, predicted {words['eager']}" for name, words in said]
