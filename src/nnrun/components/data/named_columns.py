"""Settings that name columns of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nnrun.base.errors import ConfigError, DataError, did_you_mean
from nnrun.base.paths import shown
from nnrun.base.visible import few
from nnrun.components.data.layout import same_name

_MOST_TITLES = 20


def refuse_lacking(
    named: Mapping[str, str | Iterable[str] | None], titles: Sequence[str], file: str, *, is_evaluation: bool
) -> None:
    """Raise an error for all settings, by full key, that name a column that a file does not have.

    It is a ConfigError, but in an evaluation a DataError: there the settings are those of a trained network.
    """
    known = {same_name(title) for title in titles}
    wrong = [
        f"{key} names {shown(name)}, which is not a column of {file}; {_hint(name, titles)}"
        for key, names in named.items()
        for name in ([names] if isinstance(names, str) else names or ())
        if same_name(name) not in known
    ]
    if wrong:
        raise (DataError if is_evaluation else ConfigError)(*wrong)


def _hint(name: str, titles: Sequence[str]) -> str:
    return did_you_mean(name, list(titles)) or f"it has {few(list(map(shown, titles)), _MOST_TITLES)}"
