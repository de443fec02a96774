"""Allowed values of the loggers' settings. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from nnrun.config.ranges import Range

RANGES: Mapping[str, Range] = {}
