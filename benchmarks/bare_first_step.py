"""Import torch, build the tutorials' CNN and its optimizer, take one step: the floor for a program's first step.

    python benchmarks/bare_first_step.py --spawned-at "$(date +%s.%N)"
    {"first_step_seconds": 3.9}
    python benchmarks/bare_first_step.py --lean --spawned-at "$(date +%s.%N)"
    {"first_step_seconds": 2.3}

`--lean` builds the optimizer without importing torch's compiler, as nnrun does; otherwise the script is the usual one.
`--spawned-at` is the caller's clock (seconds since 1970) just before it starts this process, so that the start of the
interpreter counts too. There is no data set: opening one is part of what a program may spend above this floor.
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    """Take the step and print the seconds since the process was started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spawned-at", type=float, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lean", action="store_true", help="do not import torch's compiler")
    args = parser.parse_args()

    import torch

    if args.lean:
        from nnrun.core.without_compiler import spare_compiler

        spare_compiler()

    from network import make_bare_step

    make_bare_step(args.device, "fp32")()
    if args.device != "cpu":
        torch.accelerator.synchronize()
    print(json.dumps({"first_step_seconds": time.time() - args.spawned_at}))


if __name__ == "__main__":
    main()
