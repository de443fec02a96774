"""Groups and times as people write them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nnrun.base.errors import ConfigError, DataError
from nnrun.components.data.split_columns import KeySettings, from_names, split_keys
from nnrun.core.keyed_splits import SplitKeys


def at(part: str, index: int) -> str:
    return f"{part} {index}"


def times(*texts: object) -> SplitKeys:
    return split_keys(KeySettings(time="when"), {"time": {"all": list(texts)}}, at)["all"]


def seconds(*day: int) -> float:
    return datetime(*day, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "other", "day"),
    [
        ("2024-03-01", "2024-01-31", (2024, 3, 1)),
        ("2024-03-01 18:30", "2024-01-31", (2024, 3, 1, 18, 30)),
        ("2024-03-01T18:30:15+02:00", "2024-01-31T00:00:00Z", (2024, 3, 1, 16, 30, 15)),
        ("2024/3/1", "2024/12/31", (2024, 3, 1)),
        ("1.3.2024", "2.4.2024", (2024, 3, 1)),
        ("01/03/2024", "31/12/2023", (2024, 3, 1)),
        ("03/01/2024", "12/31/2023", (2024, 3, 1)),
        ("03/01/2024 7:05", "12/31/2023 0:00", (2024, 3, 1, 7, 5)),
        ("1 Mar 2024", "31 December 2023", (2024, 3, 1)),
        ("Mar 1, 2024", "Dec 31, 2023", (2024, 3, 1)),
        ("2024-03", "2023-12", (2024, 3, 1)),
    ],
)
def test_dates_are_read_in_the_usual_forms(text: str, other: str, day: tuple[int, ...]) -> None:
    found = times(text, other)
    assert found.are_dates
    assert found.times is not None and found.times[0] == seconds(*day)


@pytest.mark.parametrize("values", [("2019", "2021", "2020"), (2019, 2021, 2020), ("20190301", "20210101", "20200101")])
def test_numbers_are_times_as_they_are(values: tuple[object, ...]) -> None:
    found = times(*values)
    assert (found.are_dates, found.span()) == (False, (str(values[0]), str(values[1])))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["2024-03-01", "yesterday", "2024-13-01"], r"all 1: yesterday is not a date; .*\nall 2: 2024-13-01 is not"),
        (["01/02/2024", "03/04/2024"], "01/02/2024 may begin with the day or the month, and no date tells"),
        (["2024-03-01", ""], "all 1 has no value for data.time=when"),
        ([2020.0, float("nan")], "all 1 has no value for data.time=when"),
        (["2024-03-01T00:00:00Z", "2024-03-01"], "all 1: 2024-03-01 has no time zone, but other times do"),
        (["3/1/24", "2024-03-01"], "all 0: 3/1/24 is not a date"),
    ],
)
def test_what_is_no_date_is_named(texts: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        times(*texts)


def test_a_group_in_two_splits_of_the_data_is_refused() -> None:
    def keys(test: list[object]) -> dict[str, SplitKeys]:
        found = {"group": {"train": ["p1", "p2", "p2"], "test": test}}
        return split_keys(KeySettings(group="patient"), found, at)

    first = keys(["p3", "p4"])
    assert (first["train"].num_groups, first["test"].num_groups) == (2, 2)
    with pytest.raises(DataError, match=r"data.group=patient: 1 group .* are in both train and test: p2; move"):
        keys(["p2", "p4"])
    with pytest.raises(DataError, match=r"test 1 has no value for data.group=patient"):
        keys(["p3", ""])
    # A group has one number in any data, also where another file has it as a number.
    again = split_keys(KeySettings(group="g"), {"group": {"all": [7, "7"]}}, at)["all"]
    assert again.groups is not None and again.groups[0] == again.groups[1]


def test_a_pattern_finds_the_group_in_a_name() -> None:
    names = {"all": ["cat/p07_1.png", "dog/p8_1.png"]}
    assert from_names("group", "p([0-9]+)_", names, at) == {"all": ["07", "8"]}
    with pytest.raises(DataError, match=r"data.group=_\(2\) matches nothing in 2 of 2 names: all 0, all 1"):
        from_names("group", "_(2)", names, at)
    for pattern, says in (("p(", "is not a regular expression"), ("(p)([0-9])", "must have one group")):
        with pytest.raises(ConfigError, match=says):
            from_names("group", pattern, names, at)
