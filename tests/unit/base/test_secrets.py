from __future__ import annotations

import pytest

from nnrun.base.secrets import hide, is_secret, left_out, redact, redact_word, secrets_in, secrets_in_words


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "tokens",
        "passwords",
        "api_keys",
        "pwd",
        "wandb_token",
        "db.password",
        "apiKey",
        "api_key",
        "API_KEY",
        "client-secret",
        "aws_secret_access_key",
    ],
)
def test_a_key_whose_last_word_names_a_secret_is_one(key: str) -> None:
    assert is_secret(key)


# The negative control: words that only resemble one.
@pytest.mark.parametrize(
    "key", ["token_dim", "max_key", "max_keys", "key", "monkey", "passwords_file", "keyboard", "secretary", ""]
)
def test_other_keys_are_not(key: str) -> None:
    assert not is_secret(key)


def test_only_texts_under_secret_keys_are_replaced_however_deep() -> None:
    tree = {"logger": {"x": {"token": "abc", "url": "abc"}}, "password": ["a", 1], "api_key": None}
    redacted = {"logger": {"x": {"token": "***", "url": "abc"}}, "password": ["***", "***"], "api_key": None}
    assert redact(tree) == redacted
    assert redact({"max_tokens": 512, "tokens": [1], "use_password": True}) == {
        "max_tokens": 512,
        "tokens": [1],
        "use_password": True,
    }


def test_a_typed_word_loses_its_secret_and_nothing_else() -> None:
    assert redact_word("logger.x.token=abc") == "logger.x.token=***"
    assert redact_word("model.logins={db_token: abc, host: h}") == "model.logins={db_token: ***, host: h}"
    assert redact_word("optimizer.lr=0.1") == "optimizer.lr=0.1"


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ('x.extra={token:"S3,CRET3", host: h}', "x.extra={token:***, host: h}"),
        ("x.extra={token:[S3CRET,S3CRET],a:[b]}", "x.extra={token:***,a:[b]}"),
        ("x.extra={tokens:{a: S3CRET, b: {c: S3CRET}}}", "x.extra={tokens:***}"),
        ("x.extra=[{api_key: 'S3\\'CRET'},{host: h}]", "x.extra=[{api_key: ***},{host: h}]"),
        ("x.extra={token: S3CRET},{token: S3CRET}", "x.extra={token: ***},{token: ***}"),
        ("x.token.y=S3CRET", "x.token.y=***"),
        ("x.url=https://user:S3CRET@host/x", "x.url=https://user:***@host/x"),
        ("x.url=https://S3CRET@host/x", "x.url=https://***@host/x"),
        ("x.url=https://h/x?a=b&access_token=S3CRET&c=d", "x.url=https://h/x?a=b&access_token=***&c=d"),
        ("x.url=ssh://git@host:22/x", "x.url=ssh://git@host:22/x"),
        ("optimizer.betas=[0.9,0.99]", "optimizer.betas=[0.9,0.99]"),
    ],
)
def test_a_secret_is_found_in_whatever_it_was_typed(word: str, kept: str) -> None:
    assert redact_word(word) == kept
    assert not any("CRET" in secret and "CRET" in kept for secret in secrets_in_words([word]))


def test_what_a_reference_brought_elsewhere_is_replaced_too_and_asked_for_again() -> None:
    tree = {"api_token": {"x": "S3CRET"}, "extra": ["S3CRET", "Bearer S3CRET"], "_target_": "my.S3CRET", "name": "x"}
    redacted = redact(tree, known=secrets_in(tree))
    assert redacted == {
        "api_token": {"x": "***"},
        "extra": ["***secret***", "Bearer ***secret***"],
        "_target_": "my.S3CRET",
        "name": "x",
    }
    assert left_out(redacted) == ["api_token.x", "extra"]
    assert left_out({"url": "https://user:***@host"}) == ["url"]


def test_a_secret_so_short_that_it_stands_anywhere_is_hidden_under_its_key_alone() -> None:
    tree = {"password": "cnn", "name": "cnn"}
    assert redact(tree, known=secrets_in(tree)) == {"password": "***", "name": "cnn"}


def test_a_message_loses_the_secrets_that_it_repeats() -> None:
    assert hide("login of abc with abcdef failed", {"token": "abcdef", "user": "abc"}) == "login of abc with *** failed"


def test_what_a_file_no_longer_holds_is_named_in_full() -> None:
    saved = redact({"model": {"api_key": "abc", "width": 3}, "logger": {"w": {"token": "t"}}})
    assert left_out(saved) == ["model.api_key", "logger.w.token"]
    assert left_out({"model": {"api_key": "abc", "name": "***"}}) == []
