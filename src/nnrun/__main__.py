"""Entry point of `nnrun` and `python -m nnrun`: help and version are printed before anything heavy is imported."""

from __future__ import annotations

import os
import sys

from nnrun.base.guard import guard, leave_with, watch
from nnrun.base.streams import say, write_any_character

# Stands in for typing.TYPE_CHECKING: importing typing takes time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Run the command line and exit with its code."""
    guard()
    words = sys.argv[1:]
    # A closed stream is None; its output is discarded.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - open for the life of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    read_names_as_utf8()
    write_any_character()
    if "--help" in words or "-h" in words:
        sys.exit(say_help(words))
    if "-sc" in words or "--shell-completion" in words:
        from nnrun.help import completion_text  # noqa: PLC0415 - this module exists to import late

        if (text := completion_text(words)) is not None:
            sys.exit(say(text))
    if "--version" in words:
        from nnrun import __version__  # noqa: PLC0415

        sys.exit(say(f"nnrun {__version__}\n"))
    from nnrun.base.confined import go_on_in_a_child  # noqa: PLC0415

    code = go_on_in_a_child(words)
    if code is not None:
        leave_with(code)
    watch()
    from nnrun.base.garbage import put_off_collection  # noqa: PLC0415

    put_off_collection()
    if "-m" in words or "--multirun" in words:
        from nnrun.sweeps.workers.starter import start_ahead  # noqa: PLC0415 - of a sweep

        start_ahead(words)
    from nnrun.cli import main as cli_main  # noqa: PLC0415

    code = cli_main(words)
    said = say("")
    leave_with(code or said)


def read_names_as_utf8() -> None:
    """Restart where Python decodes file names as ASCII (LC_ALL=C, PYTHONUTF8=0): class names are UTF-8.

    Standard output keeps its encoding.
    """
    if sys.getfilesystemencoding() != "ascii":
        return
    os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": sys.stdout.encoding}
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def say_help(words: Sequence[str]) -> int:
    """Print the help on the topics named, or on everything; return the exit code."""
    from nnrun.base.errors import NnrunError, complain  # noqa: PLC0415 - this module exists to import late
    from nnrun.base.visible import visible_lines  # noqa: PLC0415
    from nnrun.help import help_text  # noqa: PLC0415

    try:
        return say(visible_lines(help_text(words)))
    except NnrunError as error:
        complain(error.messages)
        return error.exit_code


if __name__ == "__main__":
    main()
