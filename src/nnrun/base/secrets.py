"""Keep secrets out of files: the values of keys whose last word is token, secret, password, api_key and the like.

Everything below such a key is secret, in lists and mappings too; so is a password in a URL; and so are the same texts
anywhere else, since a reference such as `${logger.my.api_token}` copies them there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import Any

SHOWN = "***"
# Replaces a secret under a key that does not reveal it as one.
ELSEWHERE = "***secret***"
_WORDS = {
    *("token", "secret", "password", "passwd", "pwd", "passphrase", "passcode", "credential", "apikey"),
    *("authorization", "tokens", "secrets", "passwords", "passwds", "passphrases", "credentials", "apikeys"),
}
_KEY_PAIRS = {"api", "access", "secret", "private", "auth", "account", "encryption", "signing"}
# A number under these keys is a count: max_tokens=512.
_COUNTED = ("token", "tokens")
# A shorter text may occur anywhere by chance: it is hidden only under its own key.
_LEAST_TO_FIND = 4
_URL = re.compile(r"(?P<scheme>\w[\w+.-]*://)(?P<user>[^\s/:@'\"]*)(?P<password>:[^\s/'\"]*)?@")
_QUERY = re.compile(r"(?P<name>[?&;][\w.-]+)=(?P<value>[^&;\s'\",\])}]+)")
_PAIR = re.compile(r"(['\"]?)([\w.-]+)\1\s*:\s*")
_CLOSING = {"[": "]", "{": "}", "(": ")"}


@functools.lru_cache(maxsize=4096)  # a run asks about each of its keys many times
def is_secret(key: str) -> bool:
    """Return whether the value of a key is a secret: `wandb_token`, `db.password`, `apiKey`, `api_keys`."""
    words = _words_of(key)
    if not words:
        return False
    is_key = words[-1] in ("key", "keys") and len(words) > 1 and words[-2] in _KEY_PAIRS
    return words[-1] in _WORDS or is_key


def _words_of(key: str) -> list[str]:
    """Return the words of a key's last part, in lower case."""
    leaf = re.split(r"[./]", key)[-1]
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", leaf)]


def redact(value: Any, key: str = "", known: Collection[str] = ()) -> Any:
    """Return a tree of plain values with every secret replaced, and those `known` wherever they occur."""
    if isinstance(value, dict):
        return {name: redact(item, _below(key, str(name)), known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, key, known) for item in value]
    if _is_hidden(value, key):
        return SHOWN
    if isinstance(value, str) and not key.endswith("_target_"):
        return hide_url(_replaced(value, known, ELSEWHERE))
    return value


def _below(key: str, name: str) -> str:
    """Return the key for the values of a mapping: a secret key makes everything below it secret."""
    return key if is_secret(key) else name


def _is_hidden(value: Any, key: str) -> bool:
    """Return whether a plain value is a secret, judged by its key."""
    if not is_secret(key):
        return False
    if isinstance(value, str):
        return value != ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and _words_of(key)[-1] not in _COUNTED


def left_out(value: Any, key: str = "") -> list[str]:
    """Return the full keys whose secrets were removed from a tree of plain values that was read from a file."""
    if isinstance(value, dict):
        return [name for k, item in value.items() for name in left_out(item, f"{key}.{k}" if key else str(k))]
    if isinstance(value, list):
        return list(dict.fromkeys(name for item in value for name in left_out(item, key)))
    return [key] if is_left_out(value, key) else []


def is_left_out(value: Any, key: str) -> bool:
    """Return whether a value that was read from a file replaces a secret, or contains a replaced one."""
    if not isinstance(value, str):
        return False
    parts = key.split(".")
    is_under_secret = any(is_secret(part) for part in parts)
    return (value == SHOWN and is_under_secret) or ELSEWHERE in value or f":{SHOWN}@" in value or f"//{SHOWN}@" in value


def hide(text: str, values: Any) -> str:
    """Return a text, such as an error message, without the secrets in the tree of values that it is about."""
    return hide_known(text, secrets_in(values))


def hide_known(text: str, known: Collection[str]) -> str:
    """Return a text without known secrets, and without the passwords of URLs."""
    return hide_url(_replaced(text, known, SHOWN))


def _replaced(text: str, known: Collection[str], stand_in: str) -> str:
    """Return a text with known secrets replaced, the longest first."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= _LEAST_TO_FIND:
            text = text.replace(secret, stand_in)
    return text


def hide_url(text: str) -> str:
    """Return a text whose URLs have no passwords, and no secrets among their parameters."""
    if "://" not in text:
        return text
    text = _URL.sub(_without_password, text)
    return _QUERY.sub(lambda m: f"{m['name']}={SHOWN}" if is_secret(m["name"][1:]) else m[0], text)


def _without_password(match: re.Match[str]) -> str:
    """Return the beginning of a URL without its password; a name alone, as in https://TOKEN@host, counts as one."""
    scheme, user, password = match["scheme"], match["user"], match["password"]
    if password is not None:
        return f"{scheme}{user}:{SHOWN}@"
    return f"{scheme}{SHOWN}@" if scheme in ("http://", "https://") and user else match[0]


def secrets_in(value: Any, key: str = "") -> frozenset[str]:
    """Return every secret in a tree of plain values, as a string."""
    if isinstance(value, dict):
        return frozenset().union(*(secrets_in(item, _below(key, str(name))) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(secrets_in(item, key) for item in value))
    if _is_hidden(value, key) and value != SHOWN:
        return frozenset({str(value)})
    if isinstance(value, str) and "://" in value:
        found = (match["password"][1:] for match in _URL.finditer(value) if match["password"])
        return frozenset(password for password in found if password not in ("", SHOWN))
    return frozenset()


def redact_word(word: str, known: Collection[str] = ()) -> str:
    """Return a word of the command line, `key=value`, with secret values replaced, in mappings and lists too."""
    key, equals, value = word.partition("=")
    if equals and any(is_secret(part) for part in key.split(".")):
        return f"{key}={SHOWN}"
    return hide_known(key + equals + _redact_pairs(value), known)


def _redact_pairs(text: str) -> str:
    """Replace the values of secret keys in a mapping as written on the command line: {token: "a,b", host: h}."""
    done, at = "", 0
    for pair in _PAIR.finditer(text):
        if pair.start() >= at and is_secret(pair[2]):
            end = _end_of_value(text, pair.end())
            done, at = done + text[at : pair.end()] + SHOWN, end
    return done + text[at:]


def secrets_in_words(words: Collection[str]) -> frozenset[str]:
    """Return the secrets in the words of a command line, as they are written there."""
    found: set[str] = set()
    for word in words:
        key, _, value = word.partition("=")
        if any(is_secret(part) for part in key.split(".")):
            found |= set(re.split(r"[\[\]{},:'\"\s]+", value)) | {value}
        for pair in _PAIR.finditer(value):
            if is_secret(pair[2]):
                inner = value[pair.end() : _end_of_value(value, pair.end())]
                found |= set(re.split(r"[\[\]{},:'\"\s]+", inner)) | {inner.strip("'\"")}
    return frozenset(secret for secret in found if len(secret) >= _LEAST_TO_FIND)


def _end_of_value(text: str, start: int) -> int:
    """Return where a value ends: at a comma or closing bracket outside the value, or at the end of the text."""
    closing: list[str] = []
    quote = ""
    at = start
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _CLOSING:
            closing.append(_CLOSING[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif not closing and character in ",]})":
            return at
        at += 1
    return len(text)
