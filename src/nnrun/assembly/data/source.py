"""Build the data source that a config names, and load its data set, before anything is held out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nnrun.assembly.data.batch_size import check_batch
from nnrun.assembly.instantiate import build, map_style_parameters
from nnrun.base.errors import DataError, NnrunError
from nnrun.base.foreign_errors import of_the_machine, place_of
from nnrun.config.auto import AUTO
from nnrun.config.schema import TAKEN_BY_MAP_STYLE, DataSettings
from nnrun.core.seams.data import Dataset, DataSource, Evaluation, Split


def load_dataset(
    settings: DataSettings,
    evaluation: Evaluation | None = None,
    *,
    checks_batch: bool = False,
    learned: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set of the source that a config names, before anything is held out.

    `checks_batch` raises DataError where a batch is larger than the data: before reading, if the source can count.
    `learned` is the preprocessing of a trained network, as plain values, for sources that ask for it.
    """
    source = _source(settings, learned)
    load_for = getattr(source, "load_for", None)
    try:
        is_checked = checks_batch and settings.batch_size != AUTO
        if is_checked and (count := getattr(source, "num_to_train_on", None)) is not None:
            check_batch(settings.batch, count, is_upper_bound=True)
        dataset = source.load() if evaluation is None or load_for is None else load_for(evaluation)
    except NnrunError:
        raise
    except Exception as error:
        if of_the_machine(error):
            raise
        reason = f"{type(error).__name__}: {error}{place_of(error)}"
        raise DataError(f"data={settings.name} cannot be loaded: {reason}") from error
    if not isinstance(dataset, Dataset):
        raise DataError(f"data={settings.name}: load() returns a {type(dataset).__name__}, not an nnrun.api.Dataset")
    for name in ("train", "test"):
        if not isinstance(split := getattr(dataset, name), Split):
            raise DataError(
                f"data={settings.name}: load() returns a Dataset whose {name} is a {type(split).__name__}, not an "
                "nnrun.api.Split"
            )
        if not isinstance(split.targets, Tensor):
            found = f"a Dataset whose {name}.targets is a {type(split.targets).__name__}"
            raise DataError(f"data={settings.name}: load() returns {found}, not a tensor")
    return dataset


def _source(settings: DataSettings, learned: Mapping[str, Any] | None) -> DataSource:
    """Build what `data.dataset` names; a map-style data set of torch's kind is wrapped, and built when it is loaded."""
    section = settings.dataset
    parameters = map_style_parameters(section)
    if parameters is None:
        late: dict[str, Any] = {"in_shape": settings.in_shape} if "in_shape" in section else {}
        if learned is not None and "preprocessing" in section:
            late["preprocessing"] = {key: value for key, value in learned.items() if key != "_target_"}
        return build(section, "data.dataset", DataSource, **late)  # type: ignore[type-abstract]
    taken = ("name", *TAKEN_BY_MAP_STYLE, "split_seed", "split_by", "in_shape", "class_order")
    wrapper = {"_target_": "nnrun.components.data.map_style.OwnDataset"} | {
        key: getattr(settings, key) for key in taken
    }
    open_set = functools.partial(build, section, "data.dataset", object)
    return build(wrapper, "data.dataset", DataSource, open_set, parameters, section)  # type: ignore[type-abstract]
