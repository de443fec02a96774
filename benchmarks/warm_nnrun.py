"""Train with nnrun in a process that has trained before: as a peer with warm-up steps, which load a GPU's libraries.

    python benchmarks/warm_nnrun.py 50 model=cnn trainer.max_steps=300 hydra.run.dir=run ...

The first number is how many steps the training before takes. It is the same otherwise, in a directory beside.
"""

from __future__ import annotations

import sys

from nnrun.cli import main

if __name__ == "__main__":
    steps, *words = sys.argv[1:]
    short = [f"trainer.max_steps={steps}" if word.startswith("trainer.max_steps=") else word for word in words]
    apart = [f"{word}-warm-up" if word.startswith("hydra.run.dir=") else word for word in short]
    sys.exit(main(apart) or main(words))
