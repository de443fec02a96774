"""The result of an artifact's verification, as in verification.json and the summary."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nnrun.core.seams.export import Exporter, max_drop_of

# Schema 1, until 0.3.0, had `max_accuracy_drop` in place of `max_drop`, and its worst samples had scores in place of
# predictions.
VERIFICATION_SCHEMA = 2
# A prime number and 1: an artifact whose batch is frozen at the example's size fails here.
BATCH_SIZES = (1, 2, 97)
LARGEST_BATCH = 500


@dataclass(frozen=True)
class Verification:
    """The result of a verification; `ok` is the verdict, `reason` why it failed.

    `worst` are the samples that differ most, if it failed. `packages` were imported in the process that ran the
    artifact; None if that was this process.
    """

    ok: bool
    reason: str | None
    num_samples: int
    agreement: float
    max_abs_diff: float | None
    tolerance: float | None
    min_agreement: float
    max_drop: float | None
    output: str
    metric: str
    metric_eager: float | None
    metric_artifact: float | None
    size_bytes: int
    latency_ms_batch_1: float | None
    latency_ms_batch_1_eager: float | None
    samples_per_second: float
    samples_per_second_eager: float
    batch_sizes: list[int]
    packages: list[str] | None
    notes: list[str]
    worst: list[dict[str, Any]]

    @classmethod
    def unusable(cls, exporter: Exporter, size_bytes: int, reason: str) -> Verification:
        """Return the failed verification of an artifact that could not be made or run: no sample is verified."""
        return cls(
            ok=False,
            reason=reason,
            num_samples=0,
            agreement=0.0,
            max_abs_diff=None,
            metric="",
            metric_eager=None,
            metric_artifact=None,
            size_bytes=size_bytes,
            latency_ms_batch_1=None,
            latency_ms_batch_1_eager=None,
            samples_per_second=0.0,
            samples_per_second_eager=0.0,
            packages=None,
            worst=[],
            **asked(exporter),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the verification as in verification.json; JSON has no NaN."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }


def asked(exporter: Exporter) -> dict[str, Any]:
    """Return what verification requires of an artifact, and what its exporter says of it."""
    return {
        # JSON has no infinity; int8 weights are judged by the metric, and not by their outputs.
        "tolerance": exporter.tolerance if math.isfinite(exporter.tolerance) else None,
        "min_agreement": exporter.min_agreement,
        "max_drop": max_drop_of(exporter),
        "output": getattr(exporter, "output", "scores"),
        "batch_sizes": [*BATCH_SIZES, LARGEST_BATCH],
        "notes": list(getattr(exporter, "notes", ())),
    }
