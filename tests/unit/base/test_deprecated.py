from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest
import torch
from packaging.version import Version

import nnrun
from nnrun.base.deprecated import moved, warn_renamed
from nnrun.base.targets import Targets
from nnrun.components.callbacks.loggers import Loggers
from nnrun.components.problems.classification import Classification
from nnrun.core import seams
from nnrun.core.seams.data import Split
from nnrun.core.seams.export import ExportContext, max_drop_of
from nnrun.core.seams.training import RunInfo
from nnrun.runs.console import Console
from support.command_line import OWN, SHORT, write_files
from support.command_line import nnrun as nnrun_command


def old_way() -> int:
    warn_renamed("nnrun.api.old_way", "nnrun.api.new_way", "9.0.0")
    return 1


def test_a_renamed_name_says_what_it_is_now_when_it_goes_and_who_uses_it() -> None:
    with pytest.warns(DeprecationWarning) as caught:
        old_way()
    (warning,) = caught
    assert (
        str(warning.message)
        == "nnrun.api.old_way is now nnrun.api.new_way; the old name will be removed in nnrun 9.0.0"
    )
    assert warning.filename == __file__, "the caller's line, and not ours"


def test_a_name_that_moved_is_found_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"nnrun\.core\.seams\.Split is now nnrun\.api\.Split") as caught:
        from nnrun.core.seams import Split as Old
    assert Old is Split
    assert caught[0].filename == __file__


def test_a_name_that_never_was_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Spilt'"):
        moved("nnrun.core.seams", {"Split": "nnrun.core.seams.data"}, "nnrun.api", "9.0.0")("Spilt")


def test_all_that_could_be_imported_from_the_seams_is_in_the_api_and_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in seams._PLACES:
            assert getattr(seams, name) is getattr(nnrun.api, name)


def test_no_old_name_is_kept_longer_than_it_says() -> None:
    """If this fails, remove the old names in core/seams/__init__.py."""
    with pytest.warns(DeprecationWarning, match=r"removed in nnrun 0\.6\.0$"):
        importlib.import_module("nnrun.core.seams").Batch  # noqa: B018
    assert Version(nnrun.__version__) < Version("0.6.0")


class OldLogger:
    """A class as it could be written until 0.3.0."""

    def __init__(self) -> None:
        self.started: tuple[object, ...] = ()

    def start(self, run: Path, config: dict) -> None:
        self.started = (run, config)

    def log(self, step: int, values: dict) -> None: ...

    def finish(self, summary: dict) -> None: ...


class OldExporter:
    max_accuracy_drop = 0.25


def test_a_logger_of_before_is_given_what_it_was_given_and_warned_of() -> None:
    logger, loggers = OldLogger(), Loggers(Console())
    with pytest.warns(
        DeprecationWarning,
        match=r"^nnrun\.api\.Logger\.start\(run, config\) is now .* will be removed in nnrun 0\.6\.0$",
    ) as seen:
        loggers.start({"old": logger}, RunInfo("train", Path("run"), {"seed": 1}, 0))
    assert logger.started == (Path("run"), {"seed": 1}) and not loggers.failed
    assert seen[0].filename == __file__


def test_the_score_of_an_export_and_what_may_be_lost_of_it_have_their_old_names() -> None:
    context = ExportContext(torch.zeros(1), Classification(Targets.classes("ab")), abs, "id", 0.75, torch.zeros, {})  # type: ignore[arg-type]
    with pytest.warns(
        DeprecationWarning, match=r"ExportContext\.accuracy is now nnrun\.api\.ExportContext\.score"
    ) as seen:
        assert context.accuracy == 0.75
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r"max_accuracy_drop is now nnrun\.api\.Exporter\.max_drop"):
        assert max_drop_of(OldExporter()) == 0.25  # type: ignore[arg-type]


def test_a_command_shows_the_warning_of_code_that_it_imports(tmp_path: Path) -> None:
    """By default Python shows such a warning only for code in __main__."""
    write_files(tmp_path, {**OWN, "mynet.py": "from nnrun.core.seams import Split\n" + OWN["mynet.py"]})
    done = nnrun_command([*SHORT, "model=mynet"], tmp_path)
    assert done.returncode == 0
    assert "mynet.py:1: DeprecationWarning: nnrun.core.seams.Split is now nnrun.api.Split" in done.stderr
