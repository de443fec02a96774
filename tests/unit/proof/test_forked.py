"""An artifact in a forked process is as in one of its own, and its process ends with whoever asked for it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from nnrun.base.errors import ArtifactError
from nnrun.proof import forked
from nnrun.proof.forked import ForkedProcess, begin_forking, end_forking
from nnrun.proof.isolated import RUNNER, Isolated

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a fork is not safe")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("input", "scores")]
    graph = helper.make_graph([helper.make_node("Neg", ["input"], ["scores"])], "negative", ends[:1], ends[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    proto.metadata_props.add(key="nnrun.run_id", value="7")
    save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def forking() -> Iterator[None]:
    begin_forking()
    yield
    end_forking()


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def server() -> int:
    return forked._SERVER[0][0].pid


def eventually(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


def test_a_forked_process_answers_as_one_of_its_own(artifact: Path, forking: None) -> None:
    found = []
    for is_forked in (True, False):
        if not is_forked:
            end_forking()
        loaded = Isolated(RUNNER, "onnx", artifact)
        assert isinstance(loaded._process, ForkedProcess) == is_forked
        folder = Path(loaded._scratch.name)
        batch = torch.arange(6.0).view(2, 3)
        found.append((loaded(batch).tolist(), loaded.metadata, loaded.signature, loaded.packages()))
        loaded.close()
        assert not folder.exists()
    assert found[0] == found[1]
    assert found[0][0] == [[0, -1, -2], [-3, -4, -5]]
    assert "onnxruntime" in found[0][3]
    assert "nnrun" not in found[0][3]


def test_each_process_ends_with_its_user(artifact: Path, forking: None) -> None:
    first, second = Isolated(RUNNER, "onnx", artifact), Isolated(RUNNER, "onnx", artifact)
    assert len(children_of(server())) == 2
    first.close()
    assert first._process.returncode == -signal.SIGKILL
    assert len(children_of(server())) == 1
    second(torch.zeros(1, 3))
    # A process that asks for one and is killed: the negative control is the other, which stays.
    pid = os.fork()
    if pid == 0:
        Isolated(RUNNER, "onnx", artifact)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert eventually(lambda: len(children_of(server())) == 1)
    assert second(torch.ones(1, 3)).tolist() == [[-1, -1, -1]]
    second.close()


def test_without_the_process_that_forks_one_is_started(artifact: Path, tmp_path: Path, forking: None) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no network")
    with pytest.raises(ArtifactError, match="cannot be loaded by ONNX Runtime"):
        Isolated(RUNNER, "onnx", damaged)
    os.kill(server(), signal.SIGKILL)
    forked._SERVER[0][0].wait()
    loaded = Isolated(RUNNER, "onnx", artifact)
    assert not isinstance(loaded._process, ForkedProcess)
    assert loaded(torch.ones(1, 3)).tolist() == [[-1, -1, -1]]
    loaded.close()
