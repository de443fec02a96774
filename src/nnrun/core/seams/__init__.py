"""The seams: what the core asks of data, problems, schedules, callbacks, loggers and exporters, and nothing more.

Classes of users' own import their names from here. Our own modules import each from its file.
"""

from nnrun.base.targets import Targets
from nnrun.core.seams.batch import Augmentation, Batch, Batches, Mixed, Mixing
from nnrun.core.seams.callback import Callback
from nnrun.core.seams.data import Dataset, DataSource, Evaluation, Findings, Preprocessing, Split, Tree
from nnrun.core.seams.export import CannotExport, ExportContext, Exporter
from nnrun.core.seams.problem import Metric, Problem, Sums
from nnrun.core.seams.training import Logger, Scheduler, Stateful, UpdateStep
from nnrun.core.seams.world import World

__all__ = [
    "Augmentation",
    "Batch",
    "Batches",
    "Callback",
    "CannotExport",
    "DataSource",
    "Dataset",
    "Evaluation",
    "ExportContext",
    "Exporter",
    "Findings",
    "Logger",
    "Metric",
    "Mixed",
    "Mixing",
    "Preprocessing",
    "Problem",
    "Scheduler",
    "Split",
    "Stateful",
    "Sums",
    "Targets",
    "Tree",
    "UpdateStep",
    "World",
]
