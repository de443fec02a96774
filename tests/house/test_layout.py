"""Where tests lie: those of a module where the module lies, those of what a user meets in a folder for each task."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.tasks.table import collect_tasks

TESTS = Path(__file__).parents[1]
SRC = TESTS.parent / "src" / "nnrun"
FOLDERS = {"behaviour", "campaigns", "data", "gpu", "house", "support", "unit"}
# Of what a user meets, what is of no task, or of each.
OF_NO_TASK = {"benchmarks", "command_line", "python", "sweep"}
# Tests in the folder of several modules, about something that they keep together.
OF_SEVERAL_MODULES = {
    "core/test_kernel_launches.py": "a step, with all that it calls",
    "core/test_no_waits.py": "a step and an evaluation, with all that they call",
}


def without_a_module(tests: Path, modules: Path) -> list[str]:
    """The unit tests that stand for no module: neither for one of their name, nor for each of its folder.

    A test of the whole folder is called `test_every_...`; a module may be a package.
    """
    lost = []
    for path in sorted(tests.rglob("test_*.py")):
        name = path.relative_to(tests)
        module = modules / name.parent / name.stem.removeprefix("test_")
        stands_for_all = name.stem.startswith("test_every_") and module.parent.is_dir()
        if not (stands_for_all or module.with_suffix(".py").is_file() or module.is_dir()):
            lost.append(name.as_posix())
    return lost


def test_a_unit_test_lies_where_its_module_does() -> None:
    assert without_a_module(TESTS / "unit", SRC) == sorted(OF_SEVERAL_MODULES)


def test_a_unit_test_that_lies_elsewhere_is_found(tmp_path: Path) -> None:
    """Negative control: one in another folder than its module, and one of a module that is gone."""
    for name in (
        "tests/core/test_loop.py",
        "tests/core/test_cnn.py",
        "tests/core/test_gone.py",
        "tests/x/test_every_y.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("src/core/loop.py", "src/models/cnn.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lost = ["core/test_cnn.py", "core/test_gone.py", "x/test_every_y.py"]
    assert without_a_module(tmp_path / "tests", tmp_path / "src") == lost


def test_the_folders_of_tests_are_those_that_contributing_names() -> None:
    assert {path.name for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"} == FOLDERS
    page = (TESTS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in sorted(FOLDERS) if f"| `{name}/" not in page] == []
    of_tasks = {path.name for path in (TESTS / "behaviour").iterdir() if path.name != "__pycache__"} - OF_NO_TASK
    assert of_tasks <= {task.name for task in collect_tasks()}


@pytest.mark.parametrize("folder", ["behaviour", "campaigns", "house", "unit"])
def test_a_folder_holds_tests_and_what_they_share_lies_in_support(folder: str) -> None:
    """But for campaigns, which are programs of their own, and fixtures."""
    others = {path.name for path in (TESTS / folder).rglob("*.py") if not path.name.startswith("test_")}
    assert folder == "campaigns" or others <= {"conftest.py"}
