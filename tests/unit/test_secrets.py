from __future__ import annotations

import pytest

from nnrun.secrets import hide, is_secret, left_out, redact, redact_word


@pytest.mark.parametrize(
    "key",
    ["token", "wandb_token", "db.password", "apiKey", "api_key", "API_KEY", "client-secret", "aws_secret_access_key"],
)
def test_a_key_whose_last_word_names_a_secret_is_one(key: str) -> None:
    assert is_secret(key)


# The negative control: words that only resemble one.
@pytest.mark.parametrize("key", ["tokens", "token_dim", "key", "monkey", "passwords_file", "keyboard", "secretary", ""])
def test_other_keys_are_not(key: str) -> None:
    assert not is_secret(key)


def test_only_texts_under_secret_keys_are_replaced_however_deep() -> None:
    tree = {"logger": {"x": {"token": "abc", "url": "abc"}}, "password": ["a", 1], "api_key": None}
    assert redact(tree) == {"logger": {"x": {"token": "***", "url": "abc"}}, "password": ["***", 1], "api_key": None}


def test_a_typed_word_loses_its_secret_and_nothing_else() -> None:
    assert redact_word("logger.x.token=abc") == "logger.x.token=***"
    assert redact_word("model.logins={db_token: abc, host: h}") == "model.logins={db_token: ***, host: h}"
    assert redact_word("optimizer.lr=0.1") == "optimizer.lr=0.1"


def test_a_message_loses_the_secrets_that_it_repeats() -> None:
    assert hide("login of abc with abcdef failed", {"token": "abcdef", "user": "abc"}) == "login of abc with *** failed"


def test_what_a_file_no_longer_holds_is_named_in_full() -> None:
    saved = redact({"model": {"api_key": "abc", "width": 3}, "logger": {"w": {"token": "t"}}})
    assert left_out(saved) == ["model.api_key", "logger.w.token"]
    assert left_out({"model": {"api_key": "abc", "name": "***"}}) == []
