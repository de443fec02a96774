"""What an error carries: complaints, each with the key that it is about."""

from __future__ import annotations

from nnrun.base.errors import MAX_MESSAGES, Complaint, ConfigError, DataError


def test_an_error_carries_the_key_that_it_is_about_beside_what_is_said() -> None:
    error = ConfigError.of("model.name", "x y", "a name", "choose another")
    assert error.complaints == (Complaint("model.name", "model.name is 'x y'; allowed: a name; choose another"),)
    assert error.messages == ("model.name is 'x y'; allowed: a name; choose another",)
    assert str(error) == error.messages[0]


def test_what_is_about_no_key_is_about_the_section_that_was_built() -> None:
    error = ConfigError("it is too small", Complaint("data.in_shape", "data.in_shape is odd"))
    assert [item.key for item in error.complaints] == ["", "data.in_shape"]
    assert [item.key for item in error.about("model").complaints] == ["model", "data.in_shape"]


def test_more_than_people_read_is_counted() -> None:
    error = DataError(*(f"{number} is wrong" for number in range(MAX_MESSAGES + 3)))
    assert len(error.messages) == MAX_MESSAGES + 1
    assert error.messages[-1] == "and 3 more"


def test_what_is_reworded_keeps_its_key() -> None:
    error = ConfigError(Complaint("a.b", "a.b is secret", ("a.c",)), "secret too")
    error.reword(lambda text: text.replace("secret", "***"))
    assert error.complaints == (Complaint("a.b", "a.b is ***", ("a.c",)), Complaint("", "*** too"))
