"""The commands that one may want after a training: those that fit what it left."""

from __future__ import annotations

import shlex

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.job import Job
from nnrun.assembly.preflight import NUM_IMAGE_DIMS
from nnrun.assembly.training import Training
from nnrun.runs.summary import Summary
from nnrun.tasks.compare.record import TASK as COMPARISON
from nnrun.tasks.evaluate.record import TASK as EVALUATION
from nnrun.tasks.predict.record import TASK as PREDICTION
from nnrun.tasks.replay.record import TASK as REPLAY
from nnrun.tasks.report.record import TASK as REPORT

_MOST = 3


def next_commands(
    job: Job, summary: Summary, data: Opened, training: Training | None, *, has_report: bool
) -> list[str]:
    """Return at most three commands, the most useful first; none without a training.

    `has_report` says whether the run ends with a report.
    """
    if training is None:
        return []
    preprocessing = data.preprocessing.to_plain()
    run, path = shlex.quote(f"ckpt={summary.run}"), job.composed.run_dir
    trust = job.reading(preprocessing, EVALUATION)
    if "test" not in summary.details:
        finish = shlex.quote(f"resume={summary.run}")
        return [f"nnrun {finish} trainer.test=true{job.reading(preprocessing)}"]
    found = [f"nnrun {run}{trust}" if summary.artifacts else f"nnrun export=onnx {run}{trust}"]
    if training.state.watch.odd:
        found.append(f"nnrun task={REPLAY.name} {run}{job.reading(preprocessing)}")
    if isinstance(data.in_shape, tuple) and len(data.in_shape) == NUM_IMAGE_DIMS:
        found.append(f"nnrun task={PREDICTION.name} {run} input=PATH{job.reading(preprocessing, PREDICTION)}")
    if not has_report:
        found.append(f"nnrun task={REPORT.name} {run}{trust}")
    if path is None:
        found.append(f"nnrun task={COMPARISON.name} runs=outputs")
    return found[:_MOST]
