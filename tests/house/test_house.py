"""The picture of a house is counted right: of one that is made up for it, whose figures are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import house
from support.command_line import write_files

MADE_UP = {
    "__init__.py": '"""All."""\n\n\ndef load():\n    from nnrun.top import go\n',
    "top.py": "import nnrun.core.loop\nfrom nnrun import loose, __version__\nfrom nnrun.parts import one\n",
    "loose.py": "import os\n\n\ndef f():\n    import nnrun.core.state\n",
    "parts/__init__.py": "",
    # A circle of modules, which is none of rooms; and imports that are none.
    "parts/one.py": "from nnrun.parts.two import y\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from nnrun import top\nelse:\n    import nnrun.loose\n",
    "parts/two.py": "def f():\n    from . import one\n\n# import nnrun.top\n",
    "core/__init__.py": "",
    "core/loop.py": 'from nnrun.core.state import (\n    x,\n)\n\nTEXT = """\n\n"""\n',
    "core/state.py": '"""Of\n\ntwo."""\n',
    # A circle of rooms, which is none of modules.
    "left/a.py": "import nnrun.right.a\n",
    "left/b.py": "",
    "right/a.py": "import nnrun.left.b\n",
    "py.typed": "",
    "__pycache__/top.cpython-311.pyc": "",
}


@pytest.fixture
def src(tmp_path: Path) -> Path:
    write_files(tmp_path / "nnrun", MADE_UP)
    return tmp_path


def test_a_made_up_house_is_counted(src: Path) -> None:
    counts = house.static_counts(src)
    assert counts == {
        "rooms": {"folders": 4, "loose_files": 4},
        "modules": 12,
        "lines": 35,
        "code_lines": 24,
        "module_graph": {
            "floors": 4,
            "chain": ["top", "parts.one = parts.two", "loose", "core.state"],
            "arrows": 10,
            "circles": [["parts.one", "parts.two"]],
        },
        "room_graph": {
            "floors": 4,
            "chain": ["top", "parts", "loose", "core"],
            "arrows": 7,
            "circles": [["left", "right"]],
        },
        "step_path": {"loop": 7, "state": 3},
    }
    told = house.table(counts)
    assert "8: 4 folders, 4 loose files\n" in told
    assert "10 lines: loop 7, state 3" in told


def test_the_house_can_be_drawn_by_command() -> None:
    done = subprocess.run([sys.executable, house.__file__, "--static"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rooms ")
    assert "circles of modules   0\n" in done.stdout


WATCHED = {
    "__init__.py": "",
    "__main__.py": """\
import threading

import torch

from nnrun import idle, served


def main():
    thread = threading.Thread(target=served.serve)
    thread.start()
    thread.join()
    served.PlainUnpickler().load()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    optimizer.step()
    from nnrun import late
    late.f()
""",
    "idle.py": "class Idle:\n    x = [y for y in range(3)]\n    def f(self):\n        pass\n",
    "served.py": """\
import hashlib
from nnrun import threaded

def serve():
    threaded.serve()
    with open("x.ckpt", "wb") as file:
        file.write(b"x")
    with open("x.ckpt", "rb") as file:
        hashlib.file_digest(file, "sha256")

class PlainUnpickler:
    def load(self):
        pass
""",
    "threaded.py": "def serve():\n    pass\n",
    "late.py": "def f():\n    pass\n",
}


def test_a_command_is_watched_in_all_its_threads_up_to_its_first_step(tmp_path: Path) -> None:
    write_files(tmp_path / "nnrun", WATCHED)
    assert house.watch(tmp_path, tmp_path) == {
        "num_steps": 1,
        "first_step": {
            "imported": ["__init__.py", "__main__.py", "idle.py", "served.py", "threaded.py"],
            "executed": ["__main__.py", "served.py", "threaded.py"],
        },
        "parses": {"x.ckpt": 1},
        "machines": ["PlainUnpickler.load"],
        "opened": {"x.ckpt": 1},
        "hashes": 1,
    }


def test_the_step_path_reads_in_one_sitting() -> None:
    """Docstrings included. Negative control: it is not counted as nothing."""
    path = house.static_counts(house.SRC)["step_path"]
    assert path.keys() == set(house.STEP_PATH)
    assert 250 < sum(path.values()) <= 350
