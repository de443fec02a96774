"""The commands that a run prints, after an interrupt and at its end, do what they say, just as they are printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from support.command_line import OWN, OWN_MODULE, OWN_YAML, SHORT, run_here, write_files
from support.small_runs import STOPS, WORDS, status, stop_at, summary

# What the commands add for a network of ours, and for one of the user's own.
MODELS = [("mlp", ""), ("mynet", " 'trust=[mynet]'")]
RUN = "hydra.run.dir=a run"


def words_of(text: str) -> list[str]:
    """The words of the one command that a text prints, as a shell reads them."""
    (command,) = re.findall(r"(?:resume with|next): nnrun (.+)", text)
    return shlex.split(command)


@pytest.mark.parametrize("where", ["mid-epoch", "the final measuring"])
@pytest.mark.parametrize(("model", "trust"), MODELS)
def test_what_an_interrupt_prints_goes_on_with_the_run(tmp_path: Path, model: str, trust: str, where: str) -> None:
    """Negative control: for an own network the same command without its trust is refused."""
    write_files(tmp_path, OWN)
    with stop_at(STOPS[where]):
        stopped = run_here([*WORDS, f"model={model}", RUN], tmp_path)
    assert stopped.code == 143
    assert stopped.err.endswith(f"resume with: nnrun 'resume=a run'{trust}\n")
    assert f"nnrun: {status(tmp_path / 'a run')['reason']}\n" == stopped.err
    words = words_of(stopped.err)
    if trust:
        assert run_here(words[:1], tmp_path).code == 4
    resumed = run_here(words, tmp_path)
    assert (resumed.code, resumed.err) == (0, "")
    assert status(tmp_path / "a run")["state"] == "finished"


@pytest.mark.parametrize("export", ["none", "onnx"])
@pytest.mark.parametrize(("model", "trust"), MODELS)
def test_what_a_run_prints_at_its_end_evaluates_it_or_exports_it(
    tmp_path: Path, model: str, trust: str, export: str
) -> None:
    """What is not exported yet is exported next; negative control as above."""
    write_files(tmp_path, OWN)
    trained = run_here([*SHORT, f"model={model}", f"export={export}", RUN], tmp_path)
    exporting = "export=onnx " if export == "none" else ""
    assert f"\nnext: nnrun {exporting}'ckpt=a run'{trust}\n" in trained.out
    # The digits are images; the report was left out or not; a run in a directory of its own is compared by hand.
    others = re.findall(r"^or: nnrun (.+)$", trained.out, re.M)
    assert others[0] == f"task=predict 'ckpt=a run' input=PATH{trust}" and "compare" not in str(others)
    words = words_of(trained.out)
    if trust:
        assert run_here(words[:-1], tmp_path).code == 4
    done = run_here([*words, "hydra.run.dir=next"], tmp_path)
    assert (done.code, done.err) == (0, "")
    assert list(summary(tmp_path / "next")["artifacts"]) == (["onnx"] if exporting else [])
    assert "next:" not in done.out, "an evaluation is the end"


NESTED_YAML = (
    "_target_: torch.nn.Sequential\n_args_:\n  - " + OWN_YAML.partition("\n")[2].replace("\n", "\n    ") + "\n"
)
DATA_YAML = "defaults: [_base]\nname: mine\ndataset:\n  _target_: mydata.Mine\n"
DATA_MODULE = """\
import dataclasses
from myscale import Scale
from nnrun.components.data.digits import Digits

class Mine:
    def load(self):
        return dataclasses.replace(Digits().load(), preprocessing=Scale())
"""
SCALE_MODULE = """\
class Scale:
    def __call__(self, raw):
        return raw / 255
    def to_plain(self):
        return {"_target_": "myscale.Scale"}
"""


@pytest.mark.parametrize(
    ("words", "files"),
    [
        pytest.param(
            ["model=stack"],
            {"conf/model/stack.yaml": NESTED_YAML, "mynet.py": OWN_MODULE},
            id="a class of one's own inside one of ours",
        ),
        pytest.param(
            ["data=mine", "model=mlp"],
            {"conf/data/mine.yaml": DATA_YAML, "mydata.py": DATA_MODULE, "myscale.py": SCALE_MODULE},
            id="a preprocessing in a module of its own",
        ),
        pytest.param(
            ["--config-dir", "there/mine", "model=mynet"],
            {"there/mine/model/mynet.yaml": OWN_YAML, "there/mynet.py": OWN_MODULE},
            id="a module beside the folder named",
        ),
    ],
)
def test_the_command_works_wherever_own_classes_are(tmp_path: Path, words: list[str], files: dict[str, str]) -> None:
    write_files(tmp_path, files)
    trained = run_here([*SHORT, *words, RUN], tmp_path)
    assert (trained.code, trained.err) == (0, "")
    done = run_here([word for word in words_of(trained.out) if not word.startswith("export=")], tmp_path)
    assert (done.code, done.err) == (0, "")
