from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

import nnrun
from nnrun.base.deprecated import moved, warn_about, warn_renamed
from nnrun.core.seams.data import Split
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


def test_a_name_that_moved_is_found_and_warns_and_one_that_never_was_is_no_attribute() -> None:
    module = ModuleType("nnrun.old")
    module.__getattr__ = moved("nnrun.old", {"Split": "nnrun.core.seams.data"}, "nnrun.api", "9.0.0")
    with pytest.warns(DeprecationWarning, match=r"nnrun\.old\.Split is now nnrun\.api\.Split") as caught:
        assert module.Split is Split
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'Spilt'"):
        module.Spilt  # noqa: B018


class OldExporter: ...


def test_a_member_of_a_users_class_is_named_with_the_file_of_the_class() -> None:
    with pytest.warns(DeprecationWarning, match=r"^nnrun\.api\.Exporter\.old is now .* in nnrun 9\.0\.0$") as caught:
        warn_about(OldExporter, "nnrun.api.Exporter.old", "nnrun.api.Exporter.new", "9.0.0")
    assert caught[0].filename == __file__


def test_no_old_name_is_kept_longer_than_it_says() -> None:
    """If this fails, remove the old names that the source announces to remove in this version."""
    source = Path(nnrun.__file__).parent
    announced = [
        version for file in source.rglob("*.py") for version in re.findall(r'gone_in="(.+?)"', file.read_text())
    ]
    assert [version for version in announced if Version(version) <= Version(nnrun.__version__)] == []


def test_a_command_shows_the_warning_of_code_that_it_imports(tmp_path: Path) -> None:
    """By default Python shows such a warning only for code in __main__."""
    lines = [
        "from nnrun.base.deprecated import warn_renamed as old",
        "def mine():",
        "    old('nnrun.here', 'nnrun.there', '9.0.0')",
        "mine()\n",
    ]
    write_files(tmp_path, {**OWN, "mynet.py": "\n".join(lines) + OWN["mynet.py"]})
    done = nnrun_command([*SHORT, "model=mynet"], tmp_path)
    assert done.returncode == 0
    assert "mynet.py:4: DeprecationWarning: nnrun.here is now nnrun.there" in done.stderr
