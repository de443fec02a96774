"""Measure networks of texts: their speed beside a plain PyTorch loop, and their accuracy beside scikit-learn.

    make bench-texts                                 written to docs/benchmarks.md and docs/texts.md
    python benchmarks/texts.py --part speed          only the speed, on stdout
    python benchmarks/texts.py --part accuracy --seeds 3

Speed: texts of 1 to 256 words, of lengths as in comments (log-normal). The plain loop has the same network, batch size
and optimizer; a DataLoader pads each shuffled batch to its longest text. Both are measured in turns, in a process of
their own, with one thread, over whole epochs; tokens do not include padding.

Accuracy: the sets of benchmarks/real_texts.py. scikit-learn learns logistic regression of TF-IDF of the words, and of
character n-grams of 1 to 4, on the training and the validation part; nnrun uses the latter to choose its weights.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import OtherWork, machine, measured_environment
from real_texts import SETS, write_split
from report import table

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- made by make bench-texts -->\n", "<!-- end -->\n"
EPOCHS = {"bag": 5, "transformer": 1}
BATCH, MAX_LENGTH, NUM_TEXTS, NUM_WORDS = 64, 256, 1_000, 5_000
# What the networks are, by nnrun's words; the rest are defaults.
OURS = {
    "nnrun, defaults (bag of words)": [],
    "nnrun, bag of characters": ["tokenizer=chars"],
}
RIVALS = {"TF-IDF of words": {}, "TF-IDF of characters": {"analyzer": "char_wb", "ngram_range": (1, 4)}}


def main() -> None:
    """Measure what is asked for; print it, and write it to the pages if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["speed", "accuracy"], help="only this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=400, help="texts of a language")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and docs/texts.md too")
    parser.add_argument("--plain", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(json.dumps(plain_loop(*options.plain)))
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = {"speed": ("benchmarks.md", speed), "accuracy": ("texts.md", accuracy)}
        for name, (page, measure) in parts.items():
            if options.part in (None, name):
                others = OtherWork()
                text = f"{measure(options, Path(folder))}\n\n{machine()}. {others.sentence()}\n"
                print(text)
                if options.write:
                    path = DOCS / page
                    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
                    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def part_of(page: Path) -> str:
    """Return this benchmark's section of a page, to keep it when the page is written anew."""
    return page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] if page.exists() else ""


def speed(options: argparse.Namespace, scratch: Path) -> str:
    """Return the table of tokens and samples per second."""
    root = scratch / "mixed.csv"
    write_mixed(root)
    rows = []
    for model, epochs in EPOCHS.items():
        found: dict[str, list[tuple[float, float]]] = {"nnrun": [], "plain loop, padded": []}
        for number in range(options.rounds):
            run = scratch / f"{model}-{number}"
            words = ["data=text", f"data.root={root}", f"model={model}", f"data.batch_size={BATCH}"]
            words += [
                f"trainer.epochs={epochs}",
                "trainer.threads=1",
                "trainer.test=false",
                "export=none",
                "report=none",
            ]
            summary = nnrun(words, run)
            rate = summary["train"]["samples_per_second"]
            found["nnrun"].append((rate, rate * mean_length(summary)))
            done = subprocess.run(
                [sys.executable, __file__, "--plain", model, str(run)], capture_output=True, text=True, check=True
            )
            found["plain loop, padded"].append(tuple(json.loads(done.stdout)))
        ratios = [ours[0] / theirs[0] for ours, theirs in zip(*found.values(), strict=True)]
        for who, of in found.items():
            samples, tokens = (statistics.median(column) for column in zip(*of, strict=True))
            ratio = f"{statistics.median(ratios):.2f}" if who == "nnrun" else "1.00"
            rows.append([model, who, f"{samples:,.0f}", f"{tokens:,.0f}", ratio])
    return table(["network", "", "samples/s", "tokens/s", "relative to the plain loop"], rows)


def mean_length(summary: dict) -> float:
    """Return the mean number of tokens of a text."""
    return summary["data"]["mean_length"]


def write_mixed(path: Path) -> None:
    """Write texts of different lengths, whose class is a word in them."""
    draws = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for index in range(NUM_TEXTS):
            length = min(MAX_LENGTH - 1, max(1, int(draws.lognormvariate(3.3, 0.9))))
            words = [f"w{int(NUM_WORDS * draws.random() ** 3)}" for _ in range(length)]
            words.insert(draws.randrange(length), "good" if index % 2 else "bad")
            writer.writerow([" ".join(words), "pos" if index % 2 else "neg"])


def plain_loop(model: str, run: str) -> tuple[float, float]:
    """Return samples and tokens per second of a loop as people write it, on the tokens of a run of nnrun."""
    import torch
    from tokenizers import Tokenizer
    from torch import nn
    from torch.utils.data import DataLoader

    import nnrun

    torch.set_num_threads(1)
    folder = Path(run)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with (folder.parent / "mixed.csv").open(newline="", encoding="utf-8") as file:
        texts, labels = zip(*((row["text"], row["label"]) for row in csv.DictReader(file)), strict=True)
    rows = [torch.tensor(one.ids[:MAX_LENGTH]) for one in tokenizer.encode_batch(list(texts))]
    targets = [int(label == "pos") for label in labels]
    network = nnrun.load(run).train()

    def collate(batch: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = nn.utils.rnn.pad_sequence([row for row, _ in batch], batch_first=True)
        return tokens, torch.tensor([target for _, target in batch])

    samples: Any = list(zip(rows, targets, strict=True))
    loader: Any = DataLoader(samples, BATCH, shuffle=True, collate_fn=collate)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    num_samples = num_tokens = 0
    start = time.perf_counter()
    for tokens, wanted in (batch for _ in range(EPOCHS[model]) for batch in loader):
        loss = nn.functional.cross_entropy(network(tokens), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        num_samples += len(tokens)
        num_tokens += int((tokens != 0).sum())
    seconds = time.perf_counter() - start
    return num_samples / seconds, num_tokens / seconds


def accuracy(options: argparse.Namespace, scratch: Path) -> str:
    """Return the table of test accuracies: the mean over the seeds, and the smallest and largest."""
    found: dict[tuple[str, str], list[float]] = {}
    sizes = {}
    for name, read in SETS.items():
        texts = read(options.most)
        sizes[name] = f"{name}: {sum(map(len, texts.values())):,} texts, {len(texts)} languages"
        for seed in range(options.seeds):
            root = scratch / f"{name}-{seed}.csv"
            write_split(texts, seed, root)
            for number, (who, own) in enumerate(OURS.items()):
                words = [
                    "data=text",
                    f"data.root={root}",
                    f"seed={seed}",
                    *own,
                    "export=none",
                    "report=none",
                    "trainer.threads=1",
                ]
                run = nnrun(words, scratch / f"{name}-{seed}-{number}")
                found.setdefault((who, name), []).append(run["metrics"]["test/accuracy"])
            for who, how in RIVALS.items():
                found.setdefault((who, name), []).append(rival(root, how))
    rows = [[who, *(_spread(found[who, name]) for name in SETS)] for who in dict.fromkeys(who for who, _ in found)]
    note = f"{'; '.join(sizes.values())}. Test accuracy in %: mean of {options.seeds} seeds (smallest to largest)."
    return f"{table(['', *SETS], rows)}\n\n{note}"


def _spread(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def rival(root: Path, how: dict) -> float:
    """Return the test accuracy of scikit-learn's TF-IDF with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    with root.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    train, test = ([row for row in rows if (row["split"] == "test") is is_test] for is_test in (False, True))
    model = make_pipeline(TfidfVectorizer(**how), LogisticRegression(max_iter=1000))
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    return float(model.score([row["text"] for row in test], [row["label"] for row in test]))


def nnrun(words: list[str], run: Path) -> dict:
    """Return the summary of a training by the command line."""
    command = [str(Path(sys.executable).with_name("nnrun")), *words, "trainer.progress=false", f"hydra.run.dir={run}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=measured_environment(), cwd=run.parent, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
