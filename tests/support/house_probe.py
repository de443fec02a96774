"""One command of nnrun, watched in a process of its own: what it imports, runs and reads. house.py starts it.

    python -P tests/support/house_probe.py SPEC

SPEC is JSON: `words` of the command line, or `load`, a path for `nnrun.load`; `src`, where nnrun lies; `out`, where the
counts go; `stop_at`, the number of the optimizer step at which a SIGTERM comes, or null. No module of nnrun's is named
here but the entry, so that a checkout whose modules have other names is counted alike.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

# What runs as a part of its module's body, and is no function that anyone has written.
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
SUFFIX = ".ckpt"


class Counts:
    """What is seen of one command."""

    def __init__(self, src: Path) -> None:
        self._package = str(src / "nnrun") + os.sep
        self._executed: set[str] = set()
        self.num_steps = 0
        self.first_step: dict[str, list[str]] | None = None
        self._last_opened = "no file"
        self.machines: set[str] = set()
        self.parses: dict[str, int] = {}
        self.opened: dict[str, int] = {}
        self.hashes = 0

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See a checkpoint being opened to be read; what C++ opens for itself is not seen."""
        if event != "open" or not isinstance(arguments[0], str | bytes):
            return
        path, flags = os.fsdecode(arguments[0]), arguments[2]
        if path.endswith(SUFFIX) and not flags & (os.O_WRONLY | os.O_RDWR):
            name = self._last_opened = Path(path).name
            self.opened[name] = self.opened.get(name, 0) + 1

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        """See a call, in whatever thread."""
        if event == "call":
            code = frame.f_code
            # The bodies of modules and classes are no functions; what dataclass() writes is in no file.
            if code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in COMPREHENSIONS:
                self._executed.add(code.co_filename)
            if code.co_name == "load":
                name, is_torchs = code.co_qualname, code.co_filename.endswith("_weights_only_unpickler.py")
                if name == "PlainUnpickler.load" or (name == "Unpickler.load" and is_torchs):
                    self._parsed(name)
            elif code.co_name == "file_digest":
                name = getattr(frame.f_locals.get("fileobj"), "name", "")
                self.hashes += isinstance(name, str) and name.endswith(SUFFIX)
        elif event == "c_call" and called.__name__ == "load":
            # Python's own machine, as torch.load and earlier versions of nnrun derive theirs from it.
            machine = getattr(called, "__self__", None)
            if isinstance(machine, pickle.Unpickler) and type(machine) is not pickle.Unpickler:
                self._parsed(type(machine).__name__)

    def _parsed(self, machine: str) -> None:
        """Count a pickle as that of the checkpoint which was opened last."""
        self.machines.add(machine)
        self.parses[self._last_opened] = self.parses.get(self._last_opened, 0) + 1

    def see_step(self) -> None:
        """See an optimizer step that is about to be made; at the first, what has been imported and run so far."""
        self.num_steps += 1
        if self.first_step is None:
            files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
            imported = {file.removeprefix(self._package) for file in files if file.startswith(self._package)}
            executed = {file.removeprefix(self._package) for file in self._executed if file.startswith(self._package)}
            self.first_step = {"imported": sorted(imported), "executed": sorted(executed & imported)}

    def write(self, path: Path) -> None:
        """Write what was seen."""
        counts = {
            "num_steps": self.num_steps,
            "first_step": self.first_step,
            "parses": self.parses,
            "machines": sorted(self.machines),
            "opened": self.opened,
            "hashes": self.hashes,
            "watched_to_the_end": sys.getprofile() == self.profile,
        }
        path.write_text(json.dumps(counts), encoding="utf-8")


def main() -> None:
    """Watch one command, which ends the process."""
    spec = json.loads(sys.argv[1])
    counts, out, pid, leave = Counts(Path(spec["src"])), Path(spec["out"]), os.getpid(), os._exit
    # Before anything is watched; nnrun imports it later, and finds it there.
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    def before_step(*_: Any) -> None:
        counts.see_step()
        if counts.num_steps == spec["stop_at"]:
            os.kill(pid, signal.SIGTERM)

    def write_and_leave(code: int) -> None:
        if os.getpid() == pid:
            counts.write(out)
        leave(code)

    register_optimizer_step_pre_hook(before_step)
    os._exit = write_and_leave  # type: ignore[assignment] # a command may end by it
    sys.addaudithook(counts.audit)
    sys.argv = ["nnrun", *spec["words"]]
    threading.setprofile(counts.profile)
    sys.setprofile(counts.profile)
    try:
        if spec["load"]:
            import nnrun

            nnrun.load(spec["load"])
        else:
            from nnrun.__main__ import main as nnrun_main

            nnrun_main()
    finally:
        counts.write(out)


if __name__ == "__main__":
    main()
