"""Train with nnrun in a process that has trained before: warm-up steps that load a GPU's libraries, as for a peer.

    python benchmarks/warm_nnrun.py 50 model=cnn trainer.max_steps=300 hydra.run.dir=run ...

The first number is the number of steps of the earlier training. It is otherwise the same, in a directory beside it.
"""

from __future__ import annotations

import sys

from nnrun.cli import main

if __name__ == "__main__":
    steps, *words = sys.argv[1:]
    short = [f"trainer.max_steps={steps}" if word.startswith("trainer.max_steps=") else word for word in words]
    apart = [f"{word}-warm-up" if word.startswith("hydra.run.dir=") else word for word in short]
    sys.exit(main(apart) or main(words))
