"""Keep secrets out of files: a text under a key whose last word is token, secret, password, api_key and the like."""

from __future__ import annotations

import re
from typing import Any

SHOWN = "***"
_WORDS = {"token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "apikey"}
_KEY_PAIRS = {"api", "access", "secret", "private", "auth", "account"}


def is_secret(key: str) -> bool:
    """Return whether what stands under a key is a secret: `wandb_token`, `db.password`, `apiKey`."""
    leaf = re.split(r"[./]", key)[-1]
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", leaf)]
    if not words:
        return False
    return words[-1] in _WORDS or (words[-1] == "key" and len(words) > 1 and words[-2] in _KEY_PAIRS)


def redact(value: Any, key: str = "") -> Any:
    """Return a tree of plain values in which every secret text is replaced."""
    if isinstance(value, dict):
        return {name: redact(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(item, key) for item in value]
    return SHOWN if isinstance(value, str) and value and is_secret(key) else value


def left_out(value: Any, key: str = "") -> list[str]:
    """Return the full keys of the secrets that a tree of plain values, read out of a file, no longer holds."""
    if isinstance(value, dict):
        return [name for k, item in value.items() for name in left_out(item, f"{key}.{k}" if key else str(k))]
    if isinstance(value, list):
        return [name for item in value for name in left_out(item, key)]
    return [key] if value == SHOWN and is_secret(key) else []


def hide(text: str, values: Any) -> str:
    """Return a text, such as the message of an error, without the secrets of the tree of values that it is about."""
    for secret in sorted(_secrets_in(values), key=len, reverse=True):
        text = text.replace(secret, SHOWN)
    return text


def _secrets_in(value: Any, key: str = "") -> set[str]:
    """Return every secret text in a tree of plain values."""
    if isinstance(value, dict):
        return {secret for name, item in value.items() for secret in _secrets_in(item, str(name))}
    if isinstance(value, list):
        return {secret for item in value for secret in _secrets_in(item, key)}
    return {value} if isinstance(value, str) and value and is_secret(key) else set()


def redact_word(word: str) -> str:
    """Return a word of the command line, `key=value`, with a secret value replaced."""
    key, equals, value = word.partition("=")
    if equals and is_secret(key):
        return f"{key}={SHOWN}"
    # A secret may also stand inside a typed mapping: {token: abc}.
    return key + equals + re.sub(r"([\w-]+)(\s*:\s*)([^,{}\[\]]+)", _redact_pair, value)


def _redact_pair(match: re.Match[str]) -> str:
    """Replace the value of a `key: value` pair whose key names a secret."""
    name, colon, value = match.groups()
    return f"{name}{colon}{SHOWN if is_secret(name) else value}"
