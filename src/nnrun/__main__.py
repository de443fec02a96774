"""The entry of `nnrun` and `python -m nnrun`: help and version come before anything heavy is imported."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    words = sys.argv[1:]
    # A closed stream is None; whatever is said goes nowhere then.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - it stays open as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    if "--help" in words or "-h" in words:
        from nnrun.helptext import print_help  # noqa: PLC0415 - imports are what this function is about

        print_help()
        return
    if "--version" in words:
        from nnrun import __version__  # noqa: PLC0415

        sys.stdout.write(f"nnrun {__version__}\n")
        return
    from nnrun.cli import main as cli_main  # noqa: PLC0415

    sys.exit(cli_main(words))


if __name__ == "__main__":
    main()
