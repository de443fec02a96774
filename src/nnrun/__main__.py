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
        from nnrun.helptext import help_text  # noqa: PLC0415 - imports are what this function is about

        sys.exit(say(help_text()))
    if "--version" in words:
        from nnrun import __version__  # noqa: PLC0415

        sys.exit(say(f"nnrun {__version__}\n"))
    from nnrun.cli import main as cli_main  # noqa: PLC0415

    sys.exit(cli_main(words))


def say(text: str) -> int:
    """Write a text to standard output; return 0, or 5 where it cannot be written. A reader who has left is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not raise again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"nnrun: standard output cannot be written: {error.strerror}\n")
            return 5
    return 0


if __name__ == "__main__":
    main()
