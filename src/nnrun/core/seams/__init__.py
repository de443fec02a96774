"""The seams: what the core requires of data, problems, schedules, callbacks, loggers and exporters, and nothing more.

Users' classes import their names from `nnrun.api`. Our own modules import each from its file.
"""

from nnrun.base.deprecated import moved

# The names that could be imported from here until 0.3.0, by their file.
_PLACES = {
    name: module
    for module, names in {
        "nnrun.base.targets": ("Targets",),
        "nnrun.core.seams.batch": ("Augmentation", "Batch", "Batches", "Mixed", "Mixing"),
        "nnrun.core.seams.callback": ("Callback",),
        "nnrun.core.seams.data": (
            *("DataSource", "Dataset", "Evaluation", "Findings", "Preprocessing", "Split", "Tree"),
        ),
        "nnrun.core.seams.export": ("CannotExport", "ExportContext", "Exporter"),
        "nnrun.core.seams.problem": ("Metric", "Problem", "Sums"),
        "nnrun.core.seams.training": ("Logger", "Scheduler", "Stateful", "UpdateStep"),
    }.items()
    for name in names
}

__getattr__ = moved(__name__, _PLACES, "nnrun.api", gone_in="0.6.0")
