"""TensorBoard, MLflow and W&B for real: what they have of a run is what metrics.jsonl has (make test-extras)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.components.loggers import network_graph
from nnrun.runs.logged import id_of, logged_rows
from support.browser import Browser
from support.command_line import environment, run_here
from support.small_runs import STEPS, STOPS, manifest, resume, summary, train, tree

pytestmark = pytest.mark.extras
KEY = "0123456789abcdef0123456789abcdef01234567"
Values = dict[tuple[int, str], float]


def logged(run: Path) -> Values:
    """The values of metrics.jsonl by step and name; the test's are at the last step."""
    return {(step, name): value for step, values in logged_rows(run) for name, value in values.items()}


def assert_same(found: list[tuple[int, str, float]], expected: Values, tolerance: float = 0.0) -> None:
    """Each value is there once, and no other."""
    assert sorted(item[:2] for item in found) == sorted(expected)
    for step, name, value in found:
        assert math.isclose(value, expected[step, name], rel_tol=tolerance), (step, name)


def run_with_a_lost_checkpoint(run: Path, *words: str) -> None:
    """A run that was stopped, lost its newest checkpoint, and sends again what came after the one before."""
    assert train(run, *words, stop=STOPS["mid-epoch"]) == 143
    (run / "checkpoints" / manifest(run)["last"]).write_bytes(b"")
    assert resume(run) == 0
    assert summary(run)["failed_loggers"] == {}


@contextlib.contextmanager
def serving(command: list[str], port: int) -> Iterator[str]:
    """The address of a server, until it is ended with all the processes that it has started."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# TensorBoard.


def events(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "histograms": 0, "images": 0})
    found.Reload()
    return found


def scalars(run: Path) -> list[tuple[int, str, float]]:
    found = events(run)
    return [(event.step, tag, event.value) for tag in found.Tags()["scalars"] for event in found.Scalars(tag)]


# What metrics.jsonl ended with when the graph was drawn.
DRAWN_AFTER: list[str] = []


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, nodes_of = tmp_path_factory.mktemp("board") / "run", network_graph.nodes_of

    def drawing(*given: Any) -> list[network_graph.Node]:
        DRAWN_AFTER.append(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["split"])
        return nodes_of(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_graph, "nodes_of", drawing)
        run_with_a_lost_checkpoint(run, "logger=tensorboard")
    return run


def test_tensorboard_has_each_value_once_after_a_resume(board: Path, tmp_path: Path) -> None:
    """It keeps values in single precision. A run with a value less is the negative control."""
    assert len(list((board / "tensorboard").iterdir())) == 1
    assert_same(scalars(board), logged(board), tolerance=1e-6)
    with pytest.raises(AssertionError):
        assert_same(scalars(board)[1:], logged(board), tolerance=1e-6)


def test_tensorboard_has_the_graph_the_histograms_and_the_mistakes(board: Path) -> None:
    """The graph is drawn once, when all is measured: not beside the steps, and not when the run was stopped."""
    import torch

    assert DRAWN_AFTER == ["test"]

    found, weights = events(board), torch.load(next((board / "checkpoints").glob("*.ckpt")), weights_only=True)["model"]
    tags = found.Tags()
    assert set(tags["histograms"]) == {f"{kind}/{name}" for name in weights for kind in ("weights", "gradients")}
    for name in tags["histograms"]:
        assert [event.step for event in found.Histograms(name)] == [STEPS, 2 * STEPS, 3 * STEPS]
        last = found.Histograms(name)[-1].histogram_value
        assert last.num == sum(last.bucket) == weights[name.partition("/")[2]].numel()
    assert tags["images"] and all(tag.startswith("mistakes/") for tag in tags["images"])
    assert found.Images(tags["images"][0])[0].encoded_image_string.startswith(b"\x89PNG")
    nodes = {node.name: list(node.input) for node in found.Graph().node}
    assert "input" in nodes and any("addmm" in name for name in nodes)
    assert all(source in nodes for inputs in nodes.values() for source in inputs)


def test_the_page_of_tensorboard_has_the_curves_and_the_table_of_settings(board: Path) -> None:
    port = free_port()
    command = ["tensorboard.main", "--logdir", str(board), "--port", str(port), "--host", "127.0.0.1"]

    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{address}/data/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    with serving(command, port) as address:
        for _ in range(100):
            if found := ask("plugin/scalars/tags"):
                break
            time.sleep(0.1)
        (run,) = found
        assert set(found[run]) == {name for _, name in logged(board)}
        points = ask(f"plugin/scalars/scalars?run={run}&tag=valid/accuracy")
        assert [step for _, step, _ in points] == [STEPS, 2 * STEPS, 3 * STEPS]
        table = ask("plugin/hparams/experiment", {"experimentName": ""})
        names = {each["name"] for each in table["hparamInfos"]}
        assert {"optimizer.lr", "data.batch_size"} <= names
        metrics = [
            {"name": {"group": each["name"].get("group", ""), "tag": each["name"]["tag"]}}
            for each in table["metricInfos"]
        ]
        assert "test/accuracy" in {each["name"]["tag"] for each in metrics}
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"TensorBoard" in page.read()


@pytest.mark.browser
def test_the_page_of_tensorboard_shows_the_curves_in_chromium(board: Path, tmp_path: Path) -> None:
    """The name of a curve that is not there is the negative control."""
    port = free_port()
    command = ["tensorboard.main", "--logdir", str(board), "--port", str(port), "--host", "127.0.0.1"]
    shown = "[...document.querySelectorAll('card-view')].map(card => card.innerText).join(' ')"
    with serving(command, port) as address, Browser(tmp_path / "profile") as browser:
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.call("Page.navigate", url=f"{address}/?tagFilter=accuracy#timeseries")
        for name in ("train/accuracy", "valid/accuracy", "test/accuracy"):
            browser.wait_for(f"{shown}.replaceAll('\\n', '').includes({name!r})")
        browser.wait_for("document.querySelector('scalar-card line-chart') !== null")
        assert "no such curve" not in browser.evaluate(shown)
        browser.screenshot(tmp_path / "page.png")
        assert [error for error in browser.errors if "Uncaught" in error] == []


# MLflow.


def mlflow_runs(uri: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return client.search_runs([one.experiment_id for one in client.search_experiments()])


def mlflow_values(uri: str, run_id: str) -> list[tuple[int, str, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    keys = client.get_run(run_id).data.metrics
    return [(one.step, key, one.value) for key in keys for one in client.get_metric_history(run_id, key)]


def test_a_resumed_run_is_one_run_of_mlflow_and_sending_it_again_adds_nothing(tmp_path: Path) -> None:
    uri, run = f"sqlite:///{tmp_path}/store.db", tmp_path / "run"
    words = ["logger=mlflow", f"logger.mlflow.tracking_uri={uri}", "export=onnx", "optimizer.lr=0.002"]
    run_with_a_lost_checkpoint(run, *words)
    (found,) = mlflow_runs(uri)
    assert found.info.run_id == json.loads((run / "mlflow.json").read_text())["run_id"]
    assert (found.info.status, found.data.tags["nnrun.id"]) == ("FINISHED", id_of(run))
    assert found.data.params["optimizer.lr"] == "0.002"
    assert_same(mlflow_values(uri, found.info.run_id), logged(run))
    before = tree(run)
    again = run_here(["task=log", f"ckpt={run}", *words[:2]], tmp_path)
    assert (again.code, again.err) == (0, "")
    assert tree(run) == before
    (same,) = mlflow_runs(uri)
    assert_same(mlflow_values(uri, same.info.run_id), logged(run))


def test_a_server_of_mlflow_gets_a_run_with_its_files_and_the_jobs_of_a_sweep_beneath_it(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    port = free_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--default-artifact-root",
        str(tmp_path / "files"),
    ]
    with serving(command, port) as address:
        words = ["logger=mlflow", f"logger.mlflow.tracking_uri={address}", "model=mlp", "trainer=debug", "export=onnx"]
        # Such a server takes its time on a busy machine; what becomes of one that takes too long is tested elsewhere.
        words.append("logger.mlflow.finish_seconds=300")
        outcome = run_here(["-m", *words, "seed=0,1", "hydra.sweep.dir=sweep"], tmp_path)
        assert outcome.code == 0, outcome.err
        assert [summary(run)["failed_loggers"] for run in (tmp_path / "sweep").glob("*_seed-*")] == [{}, {}]
        *jobs, parent = sorted(mlflow_runs(address), key=lambda found: "nnrun.sweep" in found.data.tags)
        assert {job.data.params["seed"] for job in jobs} == {"0", "1"}
        assert {job.data.tags["mlflow.parentRunId"] for job in jobs} == {parent.info.run_id}
        files = [each.path for each in MlflowClient(address).list_artifacts(jobs[0].info.run_id)]
        assert {"config.yaml", "summary.json", "exports"} <= set(files)


def test_a_server_that_is_not_there_costs_the_run_nothing_but_the_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = tmp_path / "run"
    assert train(run, "logger=mlflow", f"logger.mlflow.tracking_uri=http://user:s3cr3t@127.0.0.1:{free_port()}") == 0
    assert list(summary(run)["failed_loggers"]) == ["mlflow"]
    assert not [path for path in run.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]


# Weights & Biases.


def wandb_records(folder: Path) -> Iterator[Any]:
    """The records of an offline run: LevelDB's log format, in blocks, after a head of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = next(iter(folder.glob("*.wandb"))).read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def wandb_history(folder: Path) -> list[tuple[int, str, float]]:
    rows = [record.history for record in wandb_records(folder) if record.WhichOneof("record_type") == "history"]
    found = []
    for row in rows:
        values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        found += [(int(values["_step"]), name, value) for name, value in values.items() if not name.startswith("_")]
    return found


def test_a_resumed_run_offline_is_one_whole_run_of_wandb_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    run = tmp_path / "run"
    run_with_a_lost_checkpoint(run, "logger=wandb", "logger.wandb.mode=offline")
    (folder,) = (run / "wandb").glob("offline-run-*")
    assert id_of(run) in folder.name
    assert_same(wandb_history(folder), logged(run))
    (begun,) = (record.run for record in wandb_records(folder) if record.WhichOneof("record_type") == "run")
    assert (begun.run_id, begun.project, begun.display_name) == (id_of(run), "nnrun", "run")
    assert "optimizer" in {item.key for item in begun.config.update}
    assert not [path for path in run.rglob("*") if path.is_symlink()]
    assert not [path for path in run.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    sent = run_here(
        ["task=log", f"ckpt={run}", "logger=wandb", "logger.wandb.mode=offline", "hydra.run.dir=s"], tmp_path
    )
    assert sent.code == 0, sent.err
    (later,) = (tmp_path / "s" / "wandb").glob("offline-run-*")
    assert id_of(run) in later.name
    assert_same(wandb_history(later), logged(run))


def test_online_without_a_key_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    run = tmp_path / "run"
    assert train(run, "logger=wandb", "logger.wandb.mode=online") == 0
    assert "no API key: set WANDB_API_KEY" in summary(run)["failed_loggers"]["wandb"]


# All of them.


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_logger_changes_no_bit_of_the_run(name: str, whole: Path, tmp_path: Path) -> None:
    import torch

    os.chdir(tmp_path)
    run, words = tmp_path / "run", {"wandb": ["logger.wandb.mode=offline", "logger.wandb.histograms=true"]}
    assert train(run, f"logger={name}", *words.get(name, [])) == 0
    assert summary(run)["failed_loggers"] == {}
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    ours, theirs = (
        torch.load(each / "checkpoints" / manifest(each)["last"], weights_only=True)["model"] for each in (run, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
