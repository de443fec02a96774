from __future__ import annotations

import importlib
import warnings

import pytest
from packaging.version import Version

import nnrun
from nnrun.base.deprecated import moved, warn_renamed
from nnrun.core import seams
from nnrun.core.seams.data import Split


def old_way() -> int:
    warn_renamed("nnrun.api.old_way", "nnrun.api.new_way", "9.0.0")
    return 1


def test_a_renamed_name_says_what_it_is_now_when_it_goes_and_who_uses_it() -> None:
    with pytest.warns(DeprecationWarning) as caught:
        old_way()
    (warning,) = caught
    assert str(warning.message) == "nnrun.api.old_way is nnrun.api.new_way now; the old name goes with nnrun 9.0.0"
    assert warning.filename == __file__, "the caller's line, and not ours"


def test_a_name_that_moved_is_found_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"nnrun\.core\.seams\.Split is nnrun\.api\.Split now") as caught:
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
    """Where this fails, the old names of core/seams/__init__.py have to go."""
    with pytest.warns(DeprecationWarning, match=r"with nnrun 0\.6\.0$"):
        importlib.import_module("nnrun.core.seams").Batch  # noqa: B018
    assert Version(nnrun.__version__) < Version("0.6.0")
