"""MLflow, through its client: nothing is global, and no run of the process is active."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.base.files import read_record, write_json
from nnrun.base.foreign_errors import check_package
from nnrun.base.secrets import hide_url
from nnrun.components.loggers.flat import flat
from nnrun.core.seams.training import RunInfo

# Where the id of the MLflow run is kept, in the run's directory; the tags by which a run and a sweep are found again.
_FILE, _SCHEMA = "mlflow.json", 1
_ID_TAG, _SWEEP_TAG, _PARENT_TAG = "nnrun.id", "nnrun.sweep", "mlflow.parentRunId"
# Limits of MLflow's batches, and of a parameter's length.
_MOST_PARAMETERS, _MOST_METRICS, _MOST_CHARACTERS = 100, 1000, 6000
# The store and the folder of files that are used if none is named.
_STORE, _FOLDER = Path("outputs/mlflow.db"), Path("outputs/mlflow")
_FILES = ("config.yaml", "environment.json", "summary.json", "metrics.jsonl", "report.html", "MODEL_CARD.md")
_STATES = {"finished": "FINISHED", "interrupted": "KILLED"}


class MLflow:
    """Send settings, values and files to an MLflow store or server.

    A run that is resumed or sent again continues the same MLflow run, and values that this has are not sent again.
    """

    def __init__(
        self, tracking_uri: str | None, experiment: str, name: str | None, artifacts: bool, finish_seconds: float
    ) -> None:
        self._uri, self._experiment, self._name, self._sends_files = tracking_uri, experiment, name, artifacts
        self.finish_seconds = finish_seconds

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> None:
        """Raise ResourceError if MLflow is not installed."""
        check_package("logger.mlflow", "mlflow")

    def start(self, run: RunInfo) -> None:
        """Find the MLflow run, or create it; send the settings."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Seven retries of a server that is not there would take minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - only for this logger
        from mlflow.tracking import MlflowClient  # noqa: PLC0415

        self._metric = Metric
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._folder = None if self._uri or os.environ.get("MLFLOW_TRACKING_URI") else _local_folder()
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_STORE}"
        self._client = MlflowClient(tracking_uri=uri)
        self._source = run.source or run.directory
        experiment = self._experiment_id()
        found = self._find(experiment, run)
        self._sent = self._sent_before(found) if found else set()
        tags = {_ID_TAG: run.id} | ({_PARENT_TAG: self._parent(experiment, run.sweep)} if run.sweep else {})
        if found is None:
            name = self._name or self._source.name
            found = self._client.create_run(experiment, tags=tags, run_name=name)
        else:
            self._client.update_run(found.info.run_id, status="RUNNING")
        self._run_id = found.info.run_id
        place = {"run_id": self._run_id, "experiment_id": experiment, "tracking_uri": hide_url(uri)}
        write_json(run.directory / _FILE, place, _SCHEMA)
        given = {key: str(value)[:_MOST_CHARACTERS] for key, value in flat(run.config).items() if value is not None}
        # MLflow does not let a parameter change.
        new = [Param(key, value) for key, value in given.items() if key not in found.data.params]
        for part in _parts(new, _MOST_PARAMETERS):
            self._client.log_batch(self._run_id, params=part)
        self._before = list(run.rows)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step."""
        self.log_rows([(step, values)])

    def log_rows(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Send the values of several steps, and first those from before a resume that were never sent."""
        rows, self._before = [*self._before, *rows], []
        now = int(time.time() * 1000)
        new = {(name, step, float(value)): None for step, values in rows for name, value in values.items()}
        metrics = [
            self._metric(key=name, value=value, timestamp=now, step=step)
            for name, step, value in new
            if _comparable((name, step, value)) not in self._sent
        ]
        for part in _parts(metrics, _MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=part)
        self._sent |= {_comparable(key) for key in new}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Send the files, and how the run ended."""
        self.log_rows([])
        if self._sends_files:
            for name in _FILES:
                if (self._source / name).is_file():
                    self._client.log_artifact(self._run_id, str(self._source / name))
            if (self._source / "exports").is_dir():
                self._client.log_artifacts(self._run_id, str(self._source / "exports"), "exports")
        self._client.set_terminated(self._run_id, _STATES.get(summary["state"], "FAILED"))

    def _experiment_id(self) -> str:
        """Return the id of the experiment, created if there is none; another run may create it at the same time."""
        for is_last in (False, True):
            found = self._client.get_experiment_by_name(self._experiment)
            if found is not None:
                return str(found.experiment_id)
            try:
                return str(self._client.create_experiment(self._experiment, artifact_location=self._folder))
            except Exception:
                if is_last:
                    raise
        raise AssertionError("it returns or raises")

    def _find(self, experiment: str, run: RunInfo) -> Any:
        """Return the MLflow run that the run had before: the one that its directory names, or the one with its id."""
        known = read_record(self._source / _FILE) or {}
        for tag, value in (("attributes.run_id", known.get("run_id")), (f"tags.`{_ID_TAG}`", run.id)):
            if isinstance(value, str) and value.isalnum():
                found = self._client.search_runs([experiment], f"{tag} = '{value}'", max_results=1)
                if found:
                    return found[0]
        return None

    def _parent(self, experiment: str, sweep: str) -> str:
        """Return the id of the MLflow run that holds the runs of a sweep, created if there is none."""
        name = sweep.replace("'", "_")

        def oldest() -> str | None:
            order = ["attributes.start_time ASC", "attributes.run_id ASC"]
            found = self._client.search_runs([experiment], f"tags.`{_SWEEP_TAG}` = '{name}'", 1, 1, order)
            return str(found[0].info.run_id) if found else None

        if found := oldest():
            return found
        ours = str(self._client.create_run(experiment, tags={_SWEEP_TAG: name}, run_name=sweep).info.run_id)
        self._client.set_terminated(ours)
        # Jobs that start side by side each create one: all take the oldest.
        found = oldest() or ours
        if found != ours:
            self._client.delete_run(ours)
        return found

    def _sent_before(self, found: Any) -> set[tuple[str, int, str]]:
        """Return the values that an MLflow run has."""
        histories = (self._client.get_metric_history(found.info.run_id, key) for key in found.data.metrics)
        return {_comparable((one.key, one.step, one.value)) for history in histories for one in history}


def _comparable(key: tuple[str, int, float]) -> tuple[str, int, str]:
    """Return a value so that NaN equals NaN."""
    return key[0], key[1], repr(key[2])


def _local_folder() -> str:
    """Return the folder of files beside the store that is used if none is named; it is created."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    return _FOLDER.absolute().as_uri()


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """Yield items, at most so many at once."""
    for start in range(0, len(items), most):
        yield items[start : start + most]
