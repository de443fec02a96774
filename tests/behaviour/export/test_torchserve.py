"""The .mar: its handler reads images as nnrun does, answers as promised, and TorchServe itself agrees with PyTorch."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import nnrun
from nnrun.components.data.images import read_image
from nnrun.components.data.mnist import MNIST
from nnrun.components.exporters.handler import MAX_PIXELS, ImageClassifier, read_pixels
from nnrun.components.exporters.torchserve import TorchServeExporter
from nnrun.core.seams.data import Split
from nnrun.core.seams.export import CannotExport
from support.command_line import run_here
from support.small_runs import WORDS, summary


def noise(mode: str, width: int, height: int) -> Image.Image:
    """An image of random pixels in any mode."""
    draw = torch.Generator().manual_seed(width * 1000 + height)
    pixels = torch.randint(0, 256, (height, width, 4), dtype=torch.uint8, generator=draw).numpy().tobytes()
    image = Image.frombytes("RGBA", (width, height), pixels)
    if mode in ("I;16", "I"):
        deep = torch.randint(0, 65536, (height, width), dtype=torch.int32, generator=draw)
        return Image.frombytes("I", (width, height), deep.numpy().tobytes()).convert(mode)
    if mode in ("RGBA", "LA"):
        return image.convert(mode)
    return image.convert("RGB").convert(mode)


MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I")
SUFFIXES = {"CMYK": "tiff", "I": "tiff"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (33, 20), (9, 40), (96, 64)])
def test_the_handler_reads_what_nnrun_reads(tmp_path, mode, channels, size) -> None:
    """To the bit, from several sizes to one that most of them are not. Negative control: a plain resize is another."""
    path = tmp_path / f"a.{SUFFIXES.get(mode, 'png')}"
    noise(mode, *size).save(path)
    ours, theirs = read_image(path, channels, (28, 28)), read_pixels(path.read_bytes(), channels, (28, 28))
    assert theirs.shape == (channels, 28, 28)
    assert torch.equal(ours, theirs)
    if mode == "L" and channels == 1 and size == (96, 64):
        plain = Image.open(path).resize((28, 28))
        assert not torch.equal(ours.flatten(), torch.frombuffer(bytearray(plain.tobytes()), dtype=torch.uint8))


def test_the_handler_turns_a_photograph_as_nnrun_does(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise("RGB", 30, 20).save(path, exif=exif)
    assert torch.equal(read_image(path, 3, (24, 16)), read_pixels(path.read_bytes(), 3, (24, 16)))
    palette = noise("P", 8, 8)
    palette.save(tmp_path / "b.png", transparency=3)
    content = (tmp_path / "b.png").read_bytes()
    assert torch.equal(read_image(tmp_path / "b.png", 1, (8, 8)), read_pixels(content, 1, (8, 8)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    words = [*WORDS[:-1], "export=torchserve", "export.torchserve.top_k=3", "hydra.run.dir=run"]
    done = run_here(words, folder)
    assert (done.code, done.err) == (0, "")
    return folder / "run"


def test_samples_that_are_no_pixels_are_refused_by_their_kind() -> None:
    context = SimpleNamespace(example=torch.zeros(2, 3, 8, 8))
    exporter = TorchServeExporter("probabilities", 5, 1e-4, 0.999)
    with pytest.raises(CannotExport, match=r"uint8 with 1 or 3 channels; the samples are float32 of \[3, 8, 8\]"):
        exporter.export(torch.nn.Flatten(), context, Path())


def mar_of(run: Path) -> Path:
    return run / "exports" / "torchserve" / "model.mar"


def test_the_archive_is_what_torchserve_reads(exported) -> None:
    with zipfile.ZipFile(mar_of(exported)) as archive:
        assert set(archive.namelist()) == {"MAR-INF/MANIFEST.json", "nnrun_handler.py", "model.pt", "model.json"}
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        handler = archive.read("nnrun_handler.py").decode()
        card = json.loads(archive.read("model.json"))
    # The keys of what torch-model-archiver 0.12 writes, without the date.
    assert set(manifest) == {"runtime", "model", "archiverVersion"}
    assert {"modelName", "serializedFile", "handler", "modelVersion"} <= set(manifest["model"])
    assert (manifest["model"]["serializedFile"], manifest["model"]["handler"]) == ("model.pt", "nnrun_handler.py")
    assert card["class_names"] == list("0123456789")
    assert (card["output_kind"], card["in_shape"], card["top_k"]) == ("probabilities", [1, 28, 28], 3)
    tops = {line.split()[1].partition(".")[0] for line in handler.splitlines() if line.startswith(("import ", "from "))}
    assert tops - sys.stdlib_module_names == {"torch", "PIL"}


def test_the_proof_is_of_the_handler_in_a_process_of_its_own(exported) -> None:
    artifact = summary(exported)["artifacts"]["torchserve"]
    assert artifact["ok"]
    assert artifact["output"] == "probabilities"
    assert artifact["num_samples"] == 200
    assert {"torch", "PIL", "nnrun_handler"} <= set(artifact["packages"])
    assert "nnrun" not in artifact["packages"]


@pytest.fixture(scope="module")
def handler(exported, tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    folder = tmp_path_factory.mktemp("served")
    with zipfile.ZipFile(mar_of(exported)) as archive:
        archive.extractall(folder)
    served = ImageClassifier()
    served.initialize(SimpleNamespace(system_properties={"model_dir": str(folder), "gpu_id": None}))
    return served


def ask(handler: ImageClassifier, *requests: dict[str, Any]) -> tuple[list[Any], dict[int, int]]:
    """The answers, as JSON brings them, and the statuses that were set."""
    statuses: dict[int, int] = {}

    def set_response_status(code: int = 200, phrase: str = "", idx: int = 0) -> None:
        statuses[idx] = code

    answers = handler.handle(requests, SimpleNamespace(set_response_status=set_response_status))
    return json.loads(json.dumps(answers)), statuses


def png(pixels: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[0].numpy()).save(file, "PNG")
    return file.getvalue()


def test_several_requests_with_several_images_are_answered_each(handler, exported) -> None:
    from nnrun.components.data.digits import Digits

    raw = Digits().load().test.inputs[:4]
    files = [png(pixels) for pixels in raw]
    network = nnrun.load(exported)
    with torch.no_grad():
        expected = network(network.preprocessing(raw)).softmax(1)
    answers, statuses = ask(handler, {"data": files[0]}, {"a": files[1], "b": bytearray(files[2])}, {"body": files[3]})
    assert statuses == {}
    assert set(answers[1]) == {"a", "b"}
    for row, answer in zip(expected, [answers[0], answers[1]["a"], answers[1]["b"], answers[2]], strict=True):
        best = row.topk(3)
        assert answer["class"] == str(best.indices[0].item())
        assert answer["probability"] == pytest.approx(best.values[0].item(), abs=1e-5)
        assert [entry["class"] for entry in answer["top"]] == [str(index) for index in best.indices.tolist()]
        assert [entry["probability"] for entry in answer["top"]] == pytest.approx(best.values.tolist(), abs=1e-5)


def bomb() -> bytes:
    file = io.BytesIO()
    Image.new("1", (MAX_PIXELS // 5000 + 1, 5000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>not found</html>", "unknown format"),
        (b"", "unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "unknown format"),
        (bomb(), "at most 50,000,000 are decoded"),
        ("text", "the request must contain the bytes of an image file"),
        ({"instances": []}, "the request must contain the bytes of an image file"),
    ],
)
def test_what_is_no_image_is_answered_so_and_hurts_no_other(handler, content, why) -> None:
    good = png(torch.zeros(1, 28, 28, dtype=torch.uint8))
    answers, statuses = ask(handler, {"data": content}, {"data": good}, {"good": good, "bad": content}, {})
    assert why in answers[0]["error"]
    assert "class" in answers[1]
    assert "class" in answers[2]["good"]
    assert why in answers[2]["bad"]["error"]
    assert "the request contains no image" in answers[3]["error"]
    assert statuses == {0: 400, 3: 400}


# TorchServe itself.


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def get(url: str, data: bytes | None = None, method: str | None = None) -> Any:
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "image/png"}, method=method), timeout=60
    ) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def torchserve(mar: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Serve an archive as the model `m`, in batches of up to 8; yield the addresses for inference and management."""
    inference, management, metrics, grpc, grpc_management = free_ports(5)
    address = "http://127.0.0.1"
    (folder / "config.properties").write_text(
        f"inference_address={address}:{inference}\nmanagement_address={address}:{management}\n"
        f"metrics_address={address}:{metrics}\ngrpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
        "disable_token_authorization=true\nenable_model_api=true\n"
    )
    (folder / "store").mkdir()
    (folder / "store" / "m.mar").write_bytes(mar.read_bytes())
    tools = Path(sys.executable).parent
    words = ["--start", "--foreground", "--ncs", "--disable-token-auth", "--model-store", "store"]
    words += ["--ts-config", "config.properties"]
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LOG_LOCATION": "logs", "TEMP": str(folder)}
    with (folder / "torchserve.log").open("wb") as log:
        process = subprocess.Popen(
            [tools / "torchserve", *words], cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_until(lambda: get(f"{address}:{inference}/ping")["status"] == "Healthy", folder)
            options = "url=m.mar&model_name=m&initial_workers=1&synchronous=true&batch_size=8&max_batch_delay=20"
            get(f"{address}:{management}/models?{options}", method="POST")
            yield f"{address}:{inference}/predictions/m", f"{address}:{management}/models/m"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(holds: Any, folder: Path) -> None:
    for _ in range(240):
        with contextlib.suppress(OSError, urllib.error.URLError):
            if holds():
                return
        time.sleep(0.5)
    pytest.fail((folder / "torchserve.log").read_text()[-3000:])


def mnist_root() -> str:
    """Where MNIST lies, or is fetched to."""
    return os.environ.get("MNIST_ROOT", str(Path(__file__).parents[2] / "data"))


@pytest.mark.torchserve
def test_torchserve_answers_a_thousand_test_images_as_pytorch_does(tmp_path) -> None:
    words = ["model=cnn", "data=mnist", f"data.root={mnist_root()}", "data.limit=4000", "trainer.epochs=1"]
    words += ["export=torchserve", "trainer.progress=false", "hydra.run.dir=run"]
    done = run_here(words, tmp_path)
    assert (done.code, done.err) == (0, "")
    test: Split = MNIST(mnist_root(), download=False).load().test
    raw = test.inputs[:1000]
    network = nnrun.load(tmp_path / "run")
    with torch.no_grad():
        expected = network(network.preprocessing(raw)).softmax(1)
    assert (expected.argmax(1) == test.targets[:1000]).double().mean() > 0.8
    files = [png(pixels) for pixels in raw]
    folder = tmp_path / "a folder"
    folder.mkdir()
    with torchserve(mar_of(tmp_path / "run"), folder) as (predictions, management):
        assert get(management)[0]["batchSize"] == 8
        with ThreadPoolExecutor(8) as pool:
            answers: Sequence[Any] = list(pool.map(lambda content: get(predictions, content), files))
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(predictions, b"<html>")
        assert refused.value.code == 400
    for row, answer in zip(expected, answers, strict=True):
        best = row.topk(5)
        assert answer["class"] == str(best.indices[0].item())
        assert [entry["probability"] for entry in answer["top"]] == pytest.approx(best.values.tolist(), abs=1e-5)
