"""The words of a command line: `glob()` finds options of a group, as Hydra's does."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.config.overrides import jobs_of, parse_all


def values_of(word: str, own: list[Path] | None = None) -> list[str]:
    typed, problems = parse_all([word], own=own or [])
    assert problems == []
    return [words[0].partition("=")[2] for words in jobs_of(typed)]


def test_a_glob_finds_the_options_of_a_group_as_hydras_does(tmp_path: Path) -> None:
    """A pattern, several, `exclude=`; those in subfolders by a pattern with a slash; the user's too."""
    assert values_of("early_stopping=glob(*)") == ["default", "none", "patient"]
    assert values_of("optimizer=glob(*adam*,exclude=[n*,r*])") == ["adam", "adamw"]
    assert values_of("+optimizer=glob([s*,m*],exclude=sgd)") == ["muon"]
    flat = values_of("experiment=glob(*)")
    assert "quick_digits" in flat and not any("/" in name for name in flat)
    assert "tutorial/base" in values_of("experiment=glob(tutorial/*)")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "cnn_of_mine.yaml").touch()
    (tmp_path / "model" / "_cnn_base.yaml").touch()
    assert values_of("model=glob(*cnn*)", [tmp_path]) == ["cnn", "cnn_of_mine", "textcnn"]
    assert values_of("model=glob(*cnn*)") == ["cnn", "textcnn"]


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("optimizer.lr=glob(*)", "glob() finds options of a group, and optimizer.lr is a setting"),
        ("early_stopping=glob(x*)", "matches no option of early_stopping; available: default, none"),
    ],
)
def test_a_glob_that_finds_nothing_is_an_error(word: str, answer: str) -> None:
    typed, (problem,) = parse_all([word])
    assert typed == [] and answer in problem.text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.target=größe", "größe"),
        ("data.target=prix é", "prix é"),
        ("data.drop=[größe, straße]", ["größe", "straße"]),
        ("data.columns={größe (m²): number, zip: category}", {"größe (m²)": "number", "zip": "category"}),
        ('data.columns={"sold on": date}', {"sold on": "date"}),
        ("optimizer.x={é: 1e-3}", {"é": 0.001}),
    ],
)
def test_letters_of_any_language_and_quoted_keys_need_no_more_quotes(word: str, value: object) -> None:
    (typed,), problems = parse_all([word])
    assert (typed.value, problems) == (value, [])


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("trainer.device=cpu,cuda:3", ["cpu", "cuda:3"]),
        ("trainer.device=choice(cpu,cuda:3)", ["cpu", "cuda:3"]),
        ("data.name=a b,c", ["a b", "c"]),
        ("model.hidden=[1,2],[3]", ["[1,2]", "[3]"]),
        # Without quotes or a backslash these would mean something else.
        ("data.name='a,b',c", ["'a,b'", "c"]),
        ("data.name=a\\,b,c", ["a\\,b", "c"]),
        ("data.name='null',null", ["'null'", "null"]),
    ],
)
def test_swept_values_are_as_they_were_typed(word: str, values: list[str]) -> None:
    assert values_of(word) == values


@pytest.mark.parametrize("word", ["a=é,b", "a=[é", "a={é: 1, é: 2}", "a={é: ${b}}", "a=é=b", "a={é: {}"])
def test_what_may_mean_something_else_is_an_error(word: str) -> None:
    typed, (problem,) = parse_all([word])
    assert typed == [] and "cannot be parsed; put two pairs of quotes" in problem.text
