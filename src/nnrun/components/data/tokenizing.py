"""Tokenizers of Hugging Face's `tokenizers`: trained on the texts of the training split, the same every time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.base.errors import ConfigError, DataError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import expanded, shown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN = "[PAD]", "[UNK]"
# What padding is called in tokenizers of others.
PADDINGS = (PAD, "<pad>")
UNKNOWNS = (UNKNOWN, "<unk>")
# Decimals that are kept of the scores of a unigram tokenizer: further ones differ from run to run.
_DECIMALS = 5
# Words of a vocabulary that are tried, if a text cannot be encoded.
_TRIED = 8
# Words that start inside another have this prefix.
_INSIDE = "##"


def trained(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return a tokenizer as its JSON: trained as `settings` say (`kind`, `vocab_size`, ...), or read from their `file`.

    Raises DataError where the file is none, or the texts have nothing to learn from.
    """
    kind = settings["kind"]
    if kind == "file":
        return _read(settings["file"], settings.get("padding"))
    if not any(text.strip() for text in texts):
        raise DataError("all training texts are empty: there is nothing to learn")
    return _TRAINERS[kind](texts, settings)


def opened(content: str) -> Tokenizer:
    """Return a tokenizer of its JSON; raise ValueError where it is none."""
    library = _library()
    try:
        return library.Tokenizer.from_str(content)
    except Exception as error:  # the library raises plain exceptions
        raise ValueError(f"not a tokenizer of Hugging Face's tokenizers: {error}") from error


def encoded(tokenizer: Tokenizer, texts: Sequence[str], padding: int) -> list[list[int]]:
    """Return the numbers of the tokens of each text, without that of padding.

    Raises DataError where the tokenizer has none for a part of a text.
    """
    try:
        found = tokenizer.encode_batch_fast(list(texts))
    except Exception as error:  # the library raises plain exceptions
        raise DataError(
            f"the tokenizer cannot encode a text: {error}; use one with a token for unknown words"
        ) from error
    return [[number for number in one.ids if number != padding] for one in found]


def num_closing(tokenizer: Tokenizer) -> int:
    """Return the number of special tokens that end each text, such as BERT's [SEP]: those of a cut text too."""
    for text in ("a", *sorted(tokenizer.get_vocab(with_added_tokens=False))[:_TRIED]):
        with contextlib.suppress(Exception):  # plain ones of the library: it may have no token for this text
            mask = tokenizer.encode(text).special_tokens_mask
            return mask[::-1].index(0) if 0 in mask else 0
    return 0


def unknown(tokenizer: Tokenizer) -> int | None:
    """Return the number of the token that stands for unknown ones; None if there is none."""
    found = (tokenizer.token_to_id(token) for token in UNKNOWNS)
    return next((number for number in found if number is not None), None)


def vocab_size(tokenizer: Tokenizer) -> int:
    """Return the number of different tokens, padding included: the largest number and one."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def _library() -> Any:
    """Import the library, which only a run on texts needs."""
    # Without this the library warns where a process that has used it is forked.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        import tokenizers  # noqa: PLC0415 - a run on other data does not pay for it
    except ModuleNotFoundError as error:
        raise lacks_package("data=text", error) from error
    return tokenizers


def _read(path: str | None, padding: int | None) -> str:
    """Return the JSON of a tokenizer in a file, whose token `padding`, or 0, must be padding."""
    if path is None:
        raise ConfigError("tokenizer.file must be given with tokenizer=file: the path of a tokenizer.json")
    file = expanded(path).absolute()
    try:
        content = file.read_text(encoding="utf-8")
        tokenizer = opened(content)
    except OSError as error:
        raise DataError(f"tokenizer.file={shown(file)} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"tokenizer.file={shown(file)} is {error}") from error
    token, special = tokenizer.id_to_token(padding or 0), tokenizer.get_added_tokens_decoder()
    # A model may pad with another token that no text has, such as the end of a text.
    is_stated = padding is not None and padding in special and special[padding].special
    if token not in PADDINGS and not is_stated:
        allowed = " or ".join(PADDINGS)
        raise DataError(
            f"the token {padding or 0} of tokenizer.file={shown(file)} is {shown(str(token))}; it must be {allowed}"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.to_str()


def _words(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return a tokenizer of whole words; Chinese characters are words."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = _cleaning(library, settings)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    return _trained_by(tokenizer, library.trainers.WordLevelTrainer, texts, settings)


def _chars(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return a tokenizer of single characters."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = _normalizer(library.normalizers.NFC(), settings)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
    return _trained_by(tokenizer, library.trainers.WordLevelTrainer, texts, settings)


def _normalizer(form: Any, settings: Mapping[str, Any]) -> Any:
    """Return the normalization to a form of Unicode, and to lower case where that is set."""
    normalizers = _library().normalizers
    return normalizers.Sequence([form, normalizers.Lowercase()]) if settings["lowercase"] else form


def _bpe(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return byte-pair encoding on bytes: no text has an unknown token."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.normalizer = _normalizer(library.normalizers.NFC(), settings)
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = {"initial_alphabet": sorted(library.pre_tokenizers.ByteLevel.alphabet())}
    return _trained_by(tokenizer, library.trainers.BpeTrainer, texts, settings, **alphabet)


def _wordpiece(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return WordPiece, BERT's tokenizer.

    The library's own trainer resolves ties by chance; this one gives the pieces inside of words numbers beforehand.
    """
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN, continuing_subword_prefix=_INSIDE))
    tokenizer.normalizer = _cleaning(library, settings)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    normalized = (tokenizer.normalizer.normalize_str(text) for text in texts)
    inside = sorted({character for text in normalized for character in text if not character.isspace()})
    trainer = library.trainers.BpeTrainer(
        vocab_size=settings["vocab_size"],
        min_frequency=settings["min_frequency"],
        special_tokens=[PAD, UNKNOWN, *(_INSIDE + character for character in inside)],
        continuing_subword_prefix=_INSIDE,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = library.Tokenizer(
        library.models.WordPiece(tokenizer.get_vocab(), unk_token=UNKNOWN, continuing_subword_prefix=_INSIDE)
    )
    learned.normalizer, learned.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    learned.decoder = library.decoders.WordPiece(prefix=_INSIDE)
    return learned.to_str()


def _unigram(texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Return a unigram tokenizer, SentencePiece's."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.Unigram())
    tokenizer.normalizer = _normalizer(library.normalizers.NFKC(), settings)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace()
    tokenizer.decoder = library.decoders.Metaspace()
    trainer = library.trainers.UnigramTrainer(
        vocab_size=settings["vocab_size"], special_tokens=[PAD, UNKNOWN], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    plain = json.loads(tokenizer.to_str())
    special, pieces = plain["model"]["vocab"][:2], plain["model"]["vocab"][2:]
    rounded = sorted(
        ([piece, round(score, _DECIMALS)] for piece, score in pieces), key=lambda pair: (-pair[1], pair[0])
    )
    plain["model"]["vocab"] = [*special, *rounded]
    return json.dumps(plain, ensure_ascii=False)


def _cleaning(library: Any, settings: Mapping[str, Any]) -> Any:
    """Return BERT's normalizer: without control characters, with spaces around Chinese characters; accents stay."""
    return library.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=settings["lowercase"]
    )


def _trained_by(
    tokenizer: Tokenizer, trainer: Any, texts: Iterable[str], settings: Mapping[str, Any], **more: Any
) -> str:
    """Train a tokenizer and return its JSON; padding is its token 0."""
    given = {key: settings[key] for key in ("vocab_size", "min_frequency")}
    tokenizer.train_from_iterator(texts, trainer(special_tokens=[PAD, UNKNOWN], show_progress=False, **given, **more))
    return tokenizer.to_str()


_TRAINERS = {"words": _words, "chars": _chars, "bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}
