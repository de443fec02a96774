"""Run an artifact alone: a script for a process in which neither nnrun nor the model's class is.

Called as `python -I runner.py FORMAT PATH THREADS` in an empty folder, which it removes at its end; the other side is
`nnrun.core.isolated`. Each format imports what its users have to install for it, and nothing else.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The scores of a batch, fp32, and how long the artifact took for them."""

    content: bytes
    shape: list[int]
    seconds: float


# Takes the type, the shape and the bytes of a batch.
Call = Callable[[str, list[int], bytes], Answer]
Opened = tuple[dict[str, str], Call]


def open_onnx(path: str, threads: int) -> Opened:
    """Use ONNX Runtime and numpy alone."""
    import numpy  # noqa: PLC0415 - each format has packages of its own
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def call(dtype: str, shape: list[int], content: bytes) -> Answer:
        batch = numpy.frombuffer(content, dtype).reshape(shape)
        start = time.perf_counter()
        scores = session.run(None, {name: batch})[0]
        seconds = time.perf_counter() - start
        scores = numpy.ascontiguousarray(scores, numpy.float32)
        return Answer(scores.tobytes(), list(scores.shape), seconds)

    metadata = session.get_modelmeta().custom_metadata_map
    return {key.removeprefix("nnrun."): value for key, value in metadata.items()}, call


def open_torchscript(path: str, threads: int) -> Opened:
    """Use torch alone."""
    import torch  # noqa: PLC0415

    files = {"nnrun.json": b""}
    network = torch.jit.load(path, map_location="cpu", _extra_files=files)
    return json.loads(files["nnrun.json"]), _call_of_torch(network, threads)


def open_pt2(path: str, threads: int) -> Opened:
    """Use torch alone."""
    import torch  # noqa: PLC0415

    files = {"nnrun.json": ""}
    program = torch.export.load(path, extra_files=files)
    return json.loads(files["nnrun.json"]), _call_of_torch(program.module(), threads)


def _call_of_torch(network: Any, threads: int) -> Call:
    """Return what runs a network of torch's."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(threads)

    def call(dtype: str, shape: list[int], content: bytes) -> Answer:
        batch = torch.frombuffer(bytearray(content), dtype=getattr(torch, dtype)).reshape(shape)
        with torch.inference_mode():
            start = time.perf_counter()
            scores = network(batch)
            seconds = time.perf_counter() - start
        scores = scores.float().contiguous()
        return Answer(scores.numpy().tobytes(), list(scores.shape), seconds)

    return call


def open_torchserve(path: str, threads: int) -> Opened:
    """Run the archive's handler as TorchServe does, on PNG files, with torch and Pillow alone."""
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    torch.set_num_threads(threads)
    folder = Path.cwd()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    sys.path.append(str(folder))
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    handler = importlib.import_module(manifest["model"]["handler"].removesuffix(".py")).ImageClassifier()
    statuses: list[int] = []
    context = SimpleNamespace(
        manifest=manifest,
        system_properties={"model_dir": str(folder), "gpu_id": None, "batch_size": 1},
        set_response_status=lambda code=200, phrase="", idx=0: statuses.append(code),
    )
    handler.initialize(context)
    names, key = handler.card["class_names"], handler.card["answer"]
    place = {name: index for index, name in enumerate(names)}
    # All classes, so that all can be compared.
    handler.card["top_k"] = len(names)

    def call(_: str, shape: list[int], content: bytes) -> Answer:
        number, channels, height, width = shape
        batch = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(shape).permute(0, 2, 3, 1).contiguous()
        requests = []
        for pixels in batch:
            file = io.BytesIO()
            mode = "L" if channels == 1 else "RGB"
            Image.frombytes(mode, (width, height), pixels.numpy().tobytes()).save(file, "PNG", compress_level=1)
            requests.append({"body": file.getvalue()})
        start = time.perf_counter()
        answers = json.loads(json.dumps(handler.handle(requests, context)))
        seconds = time.perf_counter() - start
        if statuses:
            raise RuntimeError(f"the handler answers {statuses[0]}: {answers[0]}")
        scores = torch.zeros(number, len(names))
        for row, answer in zip(scores, answers, strict=True):
            for entry in answer["top"]:
                row[place[entry["class"]]] = entry[key]
        return Answer(scores.numpy().tobytes(), [number, len(names)], seconds)

    metadata = {**handler.card, "class_names": json.dumps(names)}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}, call


OPENERS: dict[str, Callable[[str, int], Opened]] = {
    "onnx": open_onnx,
    "torchscript": open_torchscript,
    "pt2": open_pt2,
    "torchserve": open_torchserve,
}


def packages() -> list[str]:
    """Return the packages imported so far that are not of the standard library."""
    tops = {name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
    return sorted(name for name in tops - sys.stdlib_module_names if not name.startswith("_"))


def main(format_name: str, path: str, threads: str) -> None:
    """Answer requests, a line of JSON and then bytes, until the input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)

    def answer(header: dict[str, Any], content: bytes = b"") -> None:
        answers.write(json.dumps(header).encode() + b"\n" + content)
        answers.flush()

    try:
        metadata, call = OPENERS[format_name](path, int(threads))
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        answer({"error": f"{type(error).__name__}: {str(error)[:300]}", "missing": missing})
        return
    answer({"metadata": metadata})
    while line := requests.readline():
        request = json.loads(line)
        if "packages" in request:
            answer({"packages": packages()})
            continue
        content = requests.read(request["num_bytes"])
        try:
            scores = call(request["dtype"], request["shape"], content)
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {str(error)[:300]}"})
            continue
        sizes = {"shape": scores.shape, "num_bytes": len(scores.content), "seconds": scores.seconds}
        answer(sizes, scores.content)
    # Whoever made the folder is gone without removing it.
    shutil.rmtree(Path.cwd(), ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
