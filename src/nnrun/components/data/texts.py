"""Texts: a row of a table each, or a file each in class folders; tokenized once, with a tokenizer trained on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnrun.base.errors import DataError
from nnrun.base.shown import Table, counted
from nnrun.components.data.asked_texts import Asked, TextSamples
from nnrun.components.data.dataset_from_parts import Choices, check_counts, divided, fingerprint_of, with_shared
from nnrun.components.data.split_columns import KeySettings
from nnrun.components.data.text_samples import text_samples
from nnrun.components.data.tokenizing import trained
from nnrun.components.data.tokens import Tokenized, Tokens
from nnrun.core.ragged import PADDING
from nnrun.core.sample_hashes import as_tensor, whole
from nnrun.core.seams.data import Dataset, Evaluation, Findings, Fitted, Split, Tree
from nnrun.core.texts import Texts as TextColumn


@dataclass(frozen=True)
class TextList:
    """Texts in memory, before they are tokenized."""

    texts: Sequence[str]
    # That of the numbers of their tokens.
    dtype = torch.int64

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The number of texts, and the length of one: None, since it differs."""
        return (len(self), None)

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, indices: Tensor) -> TextList:
        """Return the texts at `indices`."""
        return TextList([self.texts[index] for index in indices.tolist()])


@dataclass(frozen=True)
class GivenTexts:
    """Texts as callers of a deployed network have them."""

    texts: TextList

    def subset(self, indices: Tensor) -> GivenTexts:
        """Return the texts at `indices`."""
        return GivenTexts(self.texts.subset(indices))

    def tree(self, names: Sequence[str]) -> Tree:
        """Return the texts by the name of their input."""
        return {name: TextColumn(self.texts.texts) for name in names}

    def words(self) -> Sequence[str]:
        """Return the texts."""
        return self.texts.texts


@dataclass(frozen=True)
class Texts:
    """Open texts and what is to be learned of them.

    `root` is a file of rows (CSV, TSV, JSON lines, Parquet, Arrow), a folder with such files for the splits, a saved
    data set of Hugging Face, or a folder of class folders with .txt files. `text` and `target` name columns, where they
    have no usual titles; `group` and `time` name columns too, or are patterns of the names of .txt files. `tokenizer`
    says how to make one of the training texts; `preprocessing` is that of a trained network, whose tokenizer is used
    instead. Tokens after the first `max_length` of a text are cut off.
    """

    root: str
    text: str | None
    target: str | Sequence[str] | None
    targets: str
    tokenizer: Mapping[str, Any] | None
    max_length: int
    test_fraction: float | None
    split_seed: int
    split_by: str
    class_order: str
    on_bad: str
    preprocessing: Mapping[str, Any] | None = None
    group: str | None = None
    time: str | None = None

    def load(self) -> Dataset:
        """Read the texts; raise DataError that names the file and the line of what is wrong."""
        return self._load(None)

    def load_for(self, evaluation: Evaluation) -> Dataset:
        """Do the same to evaluate a trained network: with its targets; the training split may be missing."""
        return self._load(evaluation)

    def _load(self, evaluation: Evaluation | None) -> Dataset:
        keys = KeySettings(self.group, self.time)
        asked = Asked(self.text, self.target, self.targets, self.class_order, self.on_bad, keys)
        found = text_samples(self.root, asked, None if evaluation is None else evaluation.targets)
        choices = Choices(self.test_fraction, self.split_seed, self.split_by, None, None, evaluation)
        check_counts(found.values, found.targets, choices)
        splits = divided({part: _split(found, part) for part in found.texts}, found.targets, choices)
        findings = with_shared(Findings(found.notes), splits)
        became = {"targets": found.targets.kind} | ({"text": found.column} if found.column else {})
        return Dataset(
            splits["train"],
            splits["test"],
            found.targets,
            valid=splits.get("valid"),
            fingerprint=fingerprint_of(splits, found.targets),
            findings=findings,
            became=became,
            test_is_drawn="test" not in found.texts,
            fit=functools.partial(self._fitted, None if evaluation is None else evaluation.preprocessing),
        )

    def _fitted(self, learned: Mapping[str, Any] | None, splits: Mapping[str, Split]) -> Fitted:
        """Return the texts as numbers of tokens; a new tokenizer is trained on the training split alone."""
        tokens = self._tokens(learned or self.preprocessing, splits)
        made = {part: tokens.of(split.inputs.texts) for part, split in splits.items()}
        notes, facts = _said(made, tokens.max_length)
        kind = None if learned or self.preprocessing or self.tokenizer is None else self.tokenizer["kind"]
        tables = () if kind is None else (Table("tokens", ("tokens", "found"), _described(made, tokens, kind)),)
        found = {part: replace(splits[part], inputs=of.samples) for part, of in made.items()}
        # A report shows some of them; the others are not kept in memory.
        found["test"] = replace(found["test"], given=GivenTexts(splits["test"].inputs))
        return Fitted(
            found,
            tokens,
            {"vocab_size": tokens.vocab_size, "max_length": tokens.max_length},
            Findings(tuple(notes), facts=facts, tables=tables),
        )

    def _tokens(self, learned: Mapping[str, Any] | None, splits: Mapping[str, Split]) -> Tokens:
        """Return the tokenizer of a trained network, or one made of the training texts."""
        if learned is not None:
            if "tokenizer" not in learned:
                raise DataError("the network was not trained on texts: its file has no tokenizer")
            return Tokens(learned["tokenizer"], int(learned["max_length"]), int(learned.get("padding", PADDING)))
        assert self.tokenizer is not None, "the checks of the config refuse texts without one"
        made = trained(splits["train"].inputs.texts, self.tokenizer)
        return Tokens(made, self.max_length, self.tokenizer.get("padding") or PADDING)


def _split(found: TextSamples, part: str) -> Split:
    """Return the texts of a split; the hash of each recognizes it again."""
    of = found.texts[part]
    digests = as_tensor(b"".join(whole(text.encode("utf-8", "surrogatepass")) for text in of))
    return Split(TextList(of), found.values[part], found.names[part], digests, digests, keys=found.keys.get(part))


def _described(made: Mapping[str, Tokenized], tokens: Tokens, kind: str) -> list[tuple[str, str]]:
    """Return what the tokens are, how many a text has, and how many of those to be tested are unknown."""
    lengths = torch.cat([of.samples.lengths for of in made.values()]).sort().values
    most = int(lengths[int(0.95 * (len(lengths) - 1))])
    rows = [
        ("vocabulary", f"{tokens.vocab_size:,} tokens (tokenizer={kind})"),
        ("length", f"{lengths.double().mean():.1f} tokens a text; 95% of the texts have {most:,} or fewer"),
    ]
    held_out = torch.cat([of.samples.flat() for part, of in made.items() if part != "train"])
    if tokens.unknown is not None and len(held_out):
        share = (held_out == tokens.unknown).double().mean()
        rows.append(("unknown", f"{share:.1%} of the tokens outside the training split"))
    return rows


def _said(made: Mapping[str, Tokenized], max_length: int) -> tuple[list[str], dict[str, Any]]:
    """Return the notes on empty texts and on those that were cut, and the facts for summary.json."""
    num_texts = sum(len(of.samples) for of in made.values())
    num_tokens = sum(of.num_tokens for of in made.values())
    num_empty = sum(of.num_empty for of in made.values())
    num_cut, num_lost = sum(of.num_cut for of in made.values()), sum(of.num_lost for of in made.values())
    notes = []
    if num_empty:
        notes.append(f"{num_empty:,} of {counted(num_texts, 'text')} have no token: they are empty")
    if num_cut:
        share = num_lost / max(num_tokens, 1)
        notes.append(
            f"cut {num_cut:,} of {counted(num_texts, 'text')} to data.max_length={max_length} tokens, "
            f"{share:.1%} of all tokens; the longest has {max(of.longest for of in made.values()):,}"
        )
    longest = max((int(of.samples.lengths.max()) for of in made.values() if len(of.samples)), default=0)
    mean = (num_tokens - num_lost) / max(num_texts, 1)
    facts = {"texts_cut": num_cut, "tokens_cut": num_lost, "texts_empty": num_empty}
    return notes, {**facts, "longest_text": longest, "mean_length": round(mean, 1)}
