"""The rivals of nnrun on tables: scikit-learn and LightGBM with their defaults, and the usual form of columns."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RIVALS = ("LightGBM", "HistGradientBoosting", "RandomForest", "MLP")


class Parts(NamedTuple):
    """The rows to train on and those to predict, the column that is learned, and whether it holds classes."""

    train: pd.DataFrame
    test: pd.DataFrame
    target: str
    is_classes: bool


def predictions(rival: str, parts: Parts, seed: int) -> Any:
    """Train on the rows of `train`, and return the predictions for those of `test`.

    Trees with categories of their own get them as such. The others get them one-hot, numbers standardised, and an
    empty number as the median; so does a forest, which has no categories.
    """
    inputs, others = (part.drop(columns=parts.target) for part in (parts.train, parts.test))
    words = [name for name in inputs.columns if inputs[name].dtype.kind not in "iuf"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if rival in ("LightGBM", "HistGradientBoosting"):
            inputs, others = _with_categories(inputs, others, words)
            model = _boosted(rival, parts.is_classes, seed)
        else:
            model = _prepared(rival, inputs, words, parts.is_classes, seed)
        model.fit(inputs, parts.train[parts.target])
        return model.predict(others)


def score(truth: np.ndarray, predicted: np.ndarray, is_classes: bool) -> float:
    """Return the accuracy, or R2."""
    from sklearn.metrics import accuracy_score, r2_score

    return float(accuracy_score(truth, predicted) if is_classes else r2_score(truth, predicted))


def _with_categories(train: pd.DataFrame, test: pd.DataFrame, words: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both parts with their words as pandas' categories, those of the training part."""
    import pandas as pd

    kinds = {name: pd.CategoricalDtype(sorted(train[name].dropna().unique())) for name in words}
    test = test.copy()
    for name, kind in kinds.items():
        test[name] = pd.Categorical(test[name], dtype=kind)
    return train.astype(kinds), test


def _boosted(rival: str, is_classes: bool, seed: int) -> Any:
    if rival == "LightGBM":
        import lightgbm

        kind = lightgbm.LGBMClassifier if is_classes else lightgbm.LGBMRegressor
        return kind(random_state=seed, n_jobs=1, verbose=-1)
    from sklearn import ensemble

    kind = ensemble.HistGradientBoostingClassifier if is_classes else ensemble.HistGradientBoostingRegressor
    return kind(random_state=seed, categorical_features="from_dtype")


def _prepared(rival: str, inputs: pd.DataFrame, words: list[str], is_classes: bool, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in inputs.columns if name not in words]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    )
    if rival == "RandomForest":
        forest = RandomForestClassifier if is_classes else RandomForestRegressor
        return make_pipeline(columns, forest(random_state=seed, n_jobs=1))
    if is_classes:
        return make_pipeline(columns, MLPClassifier(random_state=seed))
    # A perceptron cannot learn prices in dollars in 200 epochs: standardised targets, as nnrun has them.
    return make_pipeline(
        columns, TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    )
