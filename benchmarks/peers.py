"""Train the tutorials' CNN on MNIST as others do: one peer per process, one line of JSON on stdout.

    python benchmarks/peers.py tutorial --workers 2 --root ../shared/data --steps 300
    {"samples_per_second": 1650.2, "steps": 300}

tutorial     torchvision.datasets.MNIST, ToTensor and Normalize on each sample, a DataLoader that shuffles, loss.item()
             after each step
lightning    the same data under lightning.Trainer, without logger, checkpoints and progress bar
accelerate   the same data under accelerate.Accelerator
bare         only the step, on one batch that is already on the device: no data, no metrics (network.make_bare_step)

All use batch size 64, Adam at 1e-3, cross-entropy and 54,000 of the 60,000 training samples. The clock starts when the
first batch is requested, after imports, data sets and worker processes are ready, and stops after the last step. Steps
in `--warmup` come before it starts. If `steps` exceeds an epoch, the next epoch follows.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from network import BATCH_SIZE, LEARNING_RATE, make_bare_step, tutorial_cnn

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

NUM_TRAIN, NUM_VALID = 54_000, 6_000


@dataclass(frozen=True)
class Settings:
    """The command line's settings."""

    root: Path
    steps: int
    warmup_steps: int
    workers: int
    device: str
    precision: str

    @property
    def total_steps(self) -> int:
        """All steps, timed or not."""
        return self.warmup_steps + self.steps


class Stopwatch:
    """Time the steps after the warm-up and count their samples."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._steps = 0
        self._num_samples = 0
        self._started = 0.0
        self._seconds = 0.0

    def start(self) -> None:
        """Start, just before the first batch is requested."""
        self._started = self._now()

    def step_ended(self, num_samples: int) -> None:
        """Count a step of `num_samples`; wait for the device only where the timing begins and where it ends."""
        self._steps += 1
        if self._steps > self._settings.warmup_steps:
            self._num_samples += num_samples
        if self._steps == self._settings.warmup_steps:
            self._started = self._now()
        if self._steps == self._settings.total_steps:
            self._seconds = self._now() - self._started

    def report(self) -> dict[str, float | int]:
        """Return the figures; all steps must have been taken."""
        assert self._seconds > 0
        return {"samples_per_second": self._num_samples / self._seconds, "steps": self._settings.steps}

    def _now(self) -> float:
        if self._settings.device != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()


def train_loader(settings: Settings) -> DataLoader[Any]:
    """Return MNIST's training samples as every tutorial reads them."""
    from torch.utils.data import DataLoader, random_split
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    samples = datasets.MNIST(str(settings.root), train=True, transform=transform)
    train, _ = random_split(samples, [NUM_TRAIN, NUM_VALID])
    return DataLoader(train, batch_size=BATCH_SIZE, shuffle=True, num_workers=settings.workers)


def endless(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Return the batches of one epoch after the other; the workers of the first start now, not with the first batch."""
    first = iter(loader)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from first
        while True:
            yield from loader

    return batches()


def tutorial(settings: Settings, stopwatch: Stopwatch) -> None:
    """Train with the plain loop of the tutorials."""
    model = tutorial_cnn().to(settings.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loss_fn = nn.CrossEntropyLoss()
    running_loss = 0.0
    batches = endless(train_loader(settings))
    model.train()
    stopwatch.start()
    for _ in range(settings.total_steps):
        inputs, targets = next(batches)
        inputs, targets = inputs.to(settings.device), targets.to(settings.device)
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()  # waits for the device each step, as the tutorials do
        stopwatch.step_ended(len(inputs))


def lightning(settings: Settings, stopwatch: Stopwatch) -> None:
    """Train with Lightning's Trainer and its defaults, without features that would only slow it down here."""
    import lightning as L

    class Module(L.LightningModule):
        """The network, its loss and its optimizer."""

        def __init__(self) -> None:
            super().__init__()
            self.model = tutorial_cnn()
            self.loss_fn = nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
            inputs, targets = batch
            return self.loss_fn(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

    class Timing(L.Callback):
        """Drive the stopwatch."""

        def on_train_start(self, *_: object) -> None:
            stopwatch.start()

        def on_train_batch_end(self, _trainer: object, _module: object, _outputs: object, batch: Any, _: int) -> None:
            stopwatch.step_ended(len(batch[0]))

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        accelerator=settings.device,
        devices=1,
        max_steps=settings.total_steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Timing()],
    )
    trainer.fit(Module(), train_loader(settings))


def accelerate(settings: Settings, stopwatch: Stopwatch) -> None:
    """Train with Accelerate, as its tutorial adapts the plain loop."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=settings.device == "cpu")
    model = tutorial_cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loss_fn = nn.CrossEntropyLoss()
    model, optimizer, loader = accelerator.prepare(model, optimizer, train_loader(settings))
    running_loss = 0.0
    batches = endless(loader)
    model.train()
    stopwatch.start()
    for _ in range(settings.total_steps):
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        accelerator.backward(loss)
        optimizer.step()
        running_loss += loss.item()  # waits for the device each step, as in the plain loop
        stopwatch.step_ended(len(inputs))


def bare(settings: Settings, stopwatch: Stopwatch) -> None:
    """Repeat the bare step."""
    step = make_bare_step(settings.device, settings.precision)
    stopwatch.start()
    for _ in range(settings.total_steps):
        step()
        stopwatch.step_ended(BATCH_SIZE)


PEERS: dict[str, Callable[[Settings, Stopwatch], None]] = {
    "tutorial": tutorial,
    "lightning": lightning,
    "accelerate": accelerate,
    "bare": bare,
}


def main() -> None:
    """Run the peer that the command line names and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--root", type=Path, default=Path("data"), help="the folder that contains MNIST/raw")
    parser.add_argument("--steps", type=int, default=300, help="number of timed steps")
    parser.add_argument("--warmup", type=int, default=0, help="number of untimed steps before them")
    parser.add_argument("--workers", type=int, default=0, help="of the DataLoader")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the bare step")
    args = parser.parse_args()
    if args.steps < 1 or args.warmup < 0:
        parser.error("--steps must be at least 1 and --warmup at least 0")
    if args.precision != "fp32" and args.peer != "bare":
        parser.error("--precision is only for the bare step; the peers run in fp32, as in their tutorials")
    settings = Settings(args.root, args.steps, args.warmup, args.workers, args.device, args.precision)
    stopwatch = Stopwatch(settings)
    PEERS[args.peer](settings, stopwatch)
    print(json.dumps(stopwatch.report()))


if __name__ == "__main__":
    main()
