"""Measure the cost of each option of `augment`, as a fraction of one training step of the tutorials' CNN.

    .venv/bin/python benchmarks/augment.py
    .venv/bin/python benchmarks/augment.py --device cuda

A step is only forward, backward and update with 64 images of 28x28 in fp32. Augmentations and steps are timed in turn,
because the speed of a machine drifts. Each ratio is computed within a round, and the median of the rounds is shown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from network import BATCH_SIZE, make_bare_step
from nnrun.assembly.training import make_augmenter
from nnrun.base.targets import Targets
from nnrun.cli import compose
from nnrun.config.folders import options
from nnrun.config.interpolation import known_late
from nnrun.core.augmenter import Augmenter

GREY = ("augment.color.saturation=0", "augment.color.hue=0")
CALLS = 5


def seconds(call: Callable[[], object], device: str) -> float:
    """Return the seconds of a call, averaged over several."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / CALLS


def augmenting(option: str, device: str) -> Callable[[], object]:
    """Return a function that augments one batch with an option of the group."""
    words = [f"augment={option}", *(GREY if option == "color" else ())]
    sections = compose(words).resolved(known_late([1, 28, 28], Targets.classes("0123456789")))["augment"]
    augmenter = make_augmenter(sections, 0, torch.device(device))
    assert isinstance(augmenter, Augmenter)
    raw = torch.randint(256, (BATCH_SIZE, 1, 28, 28), dtype=torch.uint8).to(device)
    targets, weight = torch.zeros(BATCH_SIZE, dtype=torch.int64, device=device), torch.ones(BATCH_SIZE, device=device)
    inputs = raw.to(torch.float32)

    def augment() -> None:
        augmenter.seed(0, 0)
        augmenter.augment(raw)
        augmenter.mix(inputs, targets, weight)

    return augment


def main() -> None:
    """Print a line for each option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    device = arguments.device
    step = make_bare_step(device, "fp32")
    parts = {option: augmenting(option, device) for option in options("augment", []) if option != "none"}
    ratios: dict[str, list[float]] = {option: [] for option in parts}
    for round_number in range(arguments.rounds + 1):
        for option, augment in parts.items():
            ratio = seconds(augment, device) / seconds(step, device)
            if round_number:  # the first one is for practice
                ratios[option].append(ratio)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {arguments.rounds} rounds")
    for option, values in ratios.items():
        low, *_, high = statistics.quantiles(values, n=4)
        print(
            f"{option:<16} {statistics.median(values):6.1%} of a step   (half of the rounds: {low:.1%} to {high:.1%})"
        )


if __name__ == "__main__":
    main()
