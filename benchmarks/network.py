"""The tutorials' CNN, and its bare training step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

BATCH_SIZE = 64
LEARNING_RATE = 1e-3
NUM_PARAMETERS = 225_034


def tutorial_cnn() -> nn.Sequential:
    """Build the network that all contestants train: `(N, 1, 28, 28)` to `(N, 10)` logits."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMETERS
    return model


def make_bare_step(device: str, precision: str) -> Callable[[], None]:
    """Return a function that takes one training step on one batch that is already on the device.

    It uses what nnrun uses: channels_last, fused Adam, autocast if `precision` is bf16. It has no data handling, no
    metrics and no waits, so it is the floor for any loop that runs its operations one by one (on a GPU a captured
    graph can be faster). The pixels are noise: the time of a dense kernel does not depend on the values, except for
    denormal ones, which are flushed.
    """
    torch.set_flush_denormal(True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH_SIZE, 1, 28, 28, generator=generator)
    inputs = images.to(device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(10, (BATCH_SIZE,), generator=generator).to(device)
    # mypy knows no memory_format in Module.to
    model = tutorial_cnn().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
