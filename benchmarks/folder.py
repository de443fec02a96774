"""Compare nnrun data=folder with torchvision's ImageFolder, on PNG files written from MNIST.

    make bench-folder                                   all 60,000 images, 3 rounds
    make bench-folder ARGS="--images 6000 --rounds 1"   a smoke test of the benchmark itself

Each round runs, one after the other: nnrun with an empty cache, nnrun again, and a typical script (ImageFolder,
Grayscale, ToTensor, Normalize, a DataLoader with 2 workers and shuffle). All train the same network for one epoch with
batch size 64 and Adam at 1e-3 in their own process. "samples/s" covers the training steps, including data handling;
"whole" is the process from its start to its end, including imports, decoding, checkpoints and nnrun's evaluations.
Then the cnn predicts all images, with task=predict and with a DataLoader of 2 workers, which writes the same table; and
so it does 640x480 JPEG photos, drawn from noise, which both resize and crop to 224x224.
Ratios are computed within a round, and their medians are reported.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import default_root
from machine import OtherWork, machine

PHOTO_SIZE, PHOTO_SIDE = (640, 480), 224
BATCH_SIZE, EVAL_BATCH_SIZE, LR, NUM_WORKERS = 64, 512, 1e-3, 2
MEAN, STD = 0.1307, 0.3081
CONTESTANTS = ("nnrun, first", "nnrun, cached", "ImageFolder")


def main() -> None:
    """Write the images, train all contestants in turn, and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=default_root(), help="contains MNIST, or receives its download")
    parser.add_argument("--images", type=int, default=60_000, help="number of training images")
    parser.add_argument("--photos", type=int, default=3_000, help="number of JPEGs to predict")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--image-folder", help="be the contestant: train on this folder, and print the figures")
    parser.add_argument("--predicts-with", help="be the contestant: predict that folder with this run instead")
    args = parser.parse_args()
    if args.predicts_with:
        print(json.dumps({"samples_per_second": predict_with_loader(args.image_folder, args.predicts_with)}))
        return
    if args.image_folder:
        print(json.dumps({"samples_per_second": train_image_folder(args.image_folder, args.models[0])}))
        return
    other = OtherWork()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "mnist"
        write_images(root, args.root, args.images)
        for model in args.models:
            rounds = [one_round(Path(scratch), root, model) for _ in range(args.rounds)]
            print(table(model, rounds))
        print(predictions(Path(scratch), root, args.rounds, "28x28 PNG"))
        photos = Path(scratch) / "photos"
        write_photos(photos, args.photos)
        print(predictions(Path(scratch), photos, args.rounds, "640x480 JPEG", ["data.image_size=224"]))
    print(f"{machine()}. {other.sentence()}")


def write_images(folder: Path, root: Path, num_images: int) -> None:
    """Write MNIST as PNG files in class folders."""
    from torchvision.datasets import MNIST

    for part in ("train", "test"):
        images = MNIST(root, train=part == "train", download=True)
        for index in range(min(len(images), num_images)):
            image, label = images[index]
            path = folder / part / str(label) / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def write_photos(folder: Path, num_images: int) -> None:
    """Write JPEGs of two classes: smooth colors with some grain, so that they take about as many bytes as photos."""
    import numpy
    from PIL import Image

    draws = numpy.random.default_rng(0)
    for part, number in (("train", num_images), ("test", 20)):
        for index in range(number):
            coarse = Image.fromarray(draws.integers(0, 256, (12, 16, 3), dtype=numpy.uint8))
            smooth = numpy.asarray(coarse.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), numpy.int16)
            grain = draws.integers(-12, 13, smooth.shape, dtype=numpy.int16)
            path = folder / part / "ab"[index % 2] / f"{index:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((smooth + grain).clip(0, 255).astype(numpy.uint8)).save(path, quality=90)


def one_round(scratch: Path, root: Path, model: str) -> dict[str, tuple[float, float]]:
    """Return each contestant's training samples/s, and the seconds of its whole process."""
    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        first, cached = (train_nnrun(scratch, root, model, cache) for _ in range(2))
    command = [sys.executable, __file__, "--image-folder", str(root / "train"), "--models", model]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    return dict(
        zip(CONTESTANTS, (first, cached, (json.loads(done.stdout)["samples_per_second"], seconds)), strict=True)
    )


def train_nnrun(scratch: Path, root: Path, model: str, cache: str) -> tuple[float, float]:
    """Train by the command line."""
    words = ["data=folder", f"data.root={root}", f"model={model}", "export=none", "trainer.epochs=1"]
    words += [f"data.batch_size={BATCH_SIZE}", f"optimizer.lr={LR}"]
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        command = [sys.executable, "-m", "nnrun", *words, f"hydra.run.dir={directory}"]
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, cwd=scratch, env=os.environ | {"NNRUN_CACHE": cache})
        seconds = time.perf_counter() - start
        summary = json.loads((Path(directory) / "summary.json").read_text())
    return summary["train"]["samples_per_second"], seconds


def train_image_folder(folder: str, model: str) -> float:
    """Train one epoch as tutorials do; return the samples/s."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from nnrun.components.models.cnn import CNN
    from nnrun.components.models.mlp import MLP

    steps = [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    images = datasets.ImageFolder(folder, transforms.Compose(steps))
    loader = DataLoader(images, BATCH_SIZE, shuffle=True, num_workers=NUM_WORKERS)
    network = {"mlp": MLP, "cnn": CNN}[model]((1, 28, 28), 10)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    start = time.perf_counter()
    for inputs, targets in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - start)


def predictions(scratch: Path, root: Path, num_rounds: int, kind: str, words: Sequence[str] = ()) -> str:
    """Return a table of the prediction speeds; each round measures both, one after the other."""
    run, images = scratch / f"run_{root.name}", root / "train"
    words = ["data=folder", f"data.root={root}", "model=cnn", "export=none", "trainer.max_steps=1", *words]
    nnrun_command([*words, f"hydra.run.dir={run}"], scratch, scratch / "cache")
    rounds = []
    for number in range(num_rounds):
        directory = scratch / f"predicted_{root.name}_{number}"
        nnrun_command(
            ["task=predict", f"ckpt={run}", f"input={images}", f"hydra.run.dir={directory}"], scratch, scratch / "cache"
        )
        command = [sys.executable, __file__, "--image-folder", str(images), "--predicts-with", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ours = json.loads((directory / "summary.json").read_text())["samples_per_second"]
        rounds.append((ours, json.loads(done.stdout)["samples_per_second"]))
    ours, theirs, ratio = (
        statistics.median(figures) for figures in (*zip(*rounds, strict=True), [our / their for our, their in rounds])
    )
    lines = [f"| prediction of {kind}, model=cnn | samples/s | relative to the DataLoader |", "|---|---|---|"]
    lines += [
        f"| nnrun task=predict | {ours:,.0f} | {ratio:.2f} |",
        f"| DataLoader, 2 workers | {theirs:,.0f} | 1.00 |",
    ]
    return "\n".join(lines) + "\n"


def nnrun_command(words: list[str], folder: Path, cache: Path) -> None:
    """Run nnrun by its command line."""
    environment = os.environ | {"NNRUN_CACHE": str(cache)}
    subprocess.run(
        [sys.executable, "-m", "nnrun", *words], capture_output=True, check=True, cwd=folder, env=environment
    )


def predict_with_loader(folder: str, run: str) -> float:
    """Predict all images of a folder as typical scripts do, and write a table; return the samples/s."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    import nnrun

    network: Any = nnrun.load(run)
    steps = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    if next(Path(folder).rglob("*.*")).suffix == ".jpg":
        steps = [transforms.Resize(PHOTO_SIDE), transforms.CenterCrop(PHOTO_SIDE), *steps]
    else:
        steps = [transforms.Grayscale(), *steps]
    images = datasets.ImageFolder(folder, transforms.Compose(steps))
    start = time.perf_counter()
    paths = iter(path for path, _ in images.samples)
    with torch.inference_mode(), tempfile.TemporaryFile("w", newline="") as file:
        table_file = csv.writer(file)
        for inputs, _ in DataLoader(images, EVAL_BATCH_SIZE, num_workers=NUM_WORKERS):
            probabilities, classes = network(inputs).softmax(1).max(1)
            for number, probability in zip(classes.tolist(), probabilities.tolist(), strict=True):
                table_file.writerow([next(paths), network.class_names[number], f"{probability:.6g}"])
    return len(images) / (time.perf_counter() - start)


def table(model: str, rounds: list[dict[str, tuple[float, float]]]) -> str:
    """Return the medians of all rounds as a table."""
    lines = [f"| model={model} | samples/s | relative to ImageFolder | whole, s |", "|---|---|---|---|"]
    for name in CONTESTANTS:
        speed, seconds = (statistics.median(one[name][place] for one in rounds) for place in (0, 1))
        ratio = statistics.median(one[name][0] / one["ImageFolder"][0] for one in rounds)
        lines.append(f"| {name} | {speed:,.0f} | {ratio:.2f} | {seconds:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
