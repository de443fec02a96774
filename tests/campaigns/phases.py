"""The phases of a command in which it must not hang, and how one sees from outside that a phase has begun."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaigns.variants import WORDS

# A training that lasts longer than any try.
_LONG = (*WORDS, "trainer.epochs=100000", "trainer.checkpoint_every_steps=1000", "early_stopping=none")
_STREAM = ("data.residency=stream", "data.num_workers=2")
# The network has hardly been trained: whether int8 suits it is not what is asked.
_ANY_INT8 = ("export.onnx_int8.min_agreement=0", "export.onnx_int8.max_accuracy_drop=1")


@dataclass(frozen=True)
class Place:
    """Where a try takes place: its own folder and process, a folder of images, and a trained run."""

    folder: Path
    images: Path
    trained: Path
    pid: int = 0

    @property
    def run(self) -> Path:
        """The directory of the run, or of the sweep."""
        return self.folder / "run"

    @property
    def cache(self) -> Path:
        """The try's own cache: nothing is decoded yet."""
        return self.folder / "cache"

    @property
    def temporary(self) -> Path:
        """Where temporary files go that belong to no folder."""
        return self.folder / "tmp"


@dataclass(frozen=True)
class Phase:
    """A phase: the words of a command that comes to it, and whether it has begun by now.

    The moment of a try lies up to `spread_seconds` behind the beginning. `is_fresh`: the process imports all anew.
    """

    words: Callable[[Place], tuple[str, ...]]
    has_begun: Callable[[Place], bool]
    spread_seconds: float = 0.5
    is_fresh: bool = False


def _trains(*words: str) -> Callable[[Place], tuple[str, ...]]:
    return lambda place: (*_LONG, *words, f"hydra.run.dir={place.run}")


def _decodes(*words: str) -> Callable[[Place], tuple[str, ...]]:
    folder = ("data=folder", "data.limit=null", "data.val_fraction=0.1")
    return lambda place: (*_LONG, *folder, f"data.root={place.images}", *words, f"hydra.run.dir={place.run}")


def _reads(*words: str) -> Callable[[Place], tuple[str, ...]]:
    return lambda place: (f"ckpt={place.trained}", *words, f"hydra.run.dir={place.run}")


def _predicts(place: Place) -> tuple[str, ...]:
    return (*_reads("task=predict", "data.eval_batch_size=1")(place), f"input={place.images}")


def _sweeps(place: Place) -> tuple[str, ...]:
    few = ("trainer.epochs=1", "trainer.checkpoint_every_steps=null")
    return ("-m", *WORDS, *few, "seed=0,1,2,3,4,5", f"hydra.sweep.dir={place.run}")


def _is_there(pattern: str) -> Callable[[Place], bool]:
    """Return whether a file of the run is there."""
    return lambda place: any(place.run.glob(pattern))


def _is_being_cached(place: Place) -> bool:
    return any(place.cache.rglob(".*.tmp"))


def _is_decoded(place: Place) -> bool:
    return any(place.cache.rglob("*.samples"))


def _has_said(text: str) -> Callable[[Place], bool]:
    """Return whether the run's log says something."""

    def has_said(place: Place) -> bool:
        log = place.run / "run.log"
        return log.is_file() and text in log.read_text(errors="replace")

    return has_said


def _listens(place: Place) -> bool:
    """Return whether the process answers SIGTERM by now; where that cannot be seen, after a while. Before that it is
    Python's own start that a signal comes to.
    """
    try:
        status = Path(f"/proc/{place.pid}/status").read_text()
    except OSError:
        time.sleep(0.5)
        return True
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


# A new phase joins with a line.
PHASES: dict[str, Phase] = {
    "importing": Phase(_trains(), _listens, 2.0, is_fresh=True),
    "starting": Phase(_trains(), _listens, 0.5),
    "decoding": Phase(_decodes(), _is_being_cached, 0.3),
    "caching": Phase(_decodes(), _is_decoded, 0.05),
    "training": Phase(_trains(), _is_there("metrics.jsonl")),
    "streaming": Phase(_trains(*_STREAM), _is_there("metrics.jsonl")),
    "validation": Phase(_trains("data.val_fraction=0.5", "data.eval_batch_size=1"), _is_there("metrics.jsonl")),
    "saving": Phase(_trains("trainer.checkpoint_every_steps=1"), _is_there("metrics.jsonl")),
    "evaluating": Phase(_reads("data.limit=null", "data.eval_batch_size=1"), _is_there("status.json")),
    "exporting": Phase(_reads("export=[onnx,torchscript,pt2]"), _has_said("exporting"), 2.0),
    "quantizing": Phase(_reads("export=onnx_int8", *_ANY_INT8), _has_said("exporting"), 2.0),
    "proving": Phase(_reads("export=[torchscript,torchserve]"), _is_there("exports/*/model.*"), 2.0),
    "predicting": Phase(_predicts, _is_there(".*.tmp")),
    "sweep": Phase(_sweeps, _is_there("*/status.json"), 2.0),
    "inspecting": Phase(lambda place: (*WORDS[:-1], "task=inspect", f"hydra.run.dir={place.run}"), _is_there("*.log")),
}
