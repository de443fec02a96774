"""Open a predictor from a file alone: a run, a checkpoint, exported weights, or an exported ONNX network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from nnrun.assembly.loaded import load_alone
from nnrun.assembly.prediction.onnx_predictor import predictor_of_artifact
from nnrun.assembly.prediction.predictor import Predictor, predictor_of
from nnrun.base.errors import ConfigError, ResourceError
from nnrun.base.paths import expanded
from nnrun.config.source import open_network
from nnrun.core.device import choose_device


def open_predictor(path: Path, trust: Sequence[str], device: str | torch.device) -> Predictor:
    """Return a predictor with the network of a file; see nnrun.predictor."""
    where = _device(str(device))
    saved = open_network(expanded(path))
    if isinstance(saved, Path):
        if str(device) != "auto" and where.type != "cpu":
            raise ConfigError(f"device={device}: an ONNX file runs on the CPU; give the run that it was exported from")
        return predictor_of_artifact(saved, trust)
    return predictor_of(load_alone(saved, trust), where)


def _device(wanted: str) -> torch.device:
    """Return the device of a name; `auto` is the fastest of this machine."""
    try:
        return choose_device(wanted)
    except ResourceError as error:
        error.reword(lambda text: text.replace("trainer.device", "device"))
        raise
    except RuntimeError as error:
        raise ConfigError(f"device={wanted} is not a device; allowed: auto, cpu, cuda, cuda:1, mps") from error
