"""Run an artifact alone: a script for a process that has neither nnrun nor the model's class.

Called as `python -I runner.py FORMAT PATH THREADS PARENT` in an empty folder, which it removes at its end; the other
side is `nnrun.proof.isolated`. With `-` for the path it receives the bytes of an artifact that may be hostile, and
keeps to the limits that come with them. Each format imports what its users have to install for it, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The scores of a batch, fp32, and how long the artifact took to compute them."""

    content: bytes
    shape: list[int]
    seconds: float


class Given(NamedTuple):
    """A tensor of a batch."""

    name: str
    dtype: str
    shape: list[int]
    content: memoryview


# Takes the tensors of a batch, and the structure of the tree whose leaves they are.
Call = Callable[[list[Given], Any], Answer]


class OpenedArtifact(NamedTuple):
    """An artifact: its metadata, how to call it, and the name, type and shape of its inputs and outputs."""

    metadata: dict[str, str]
    call: Call
    signature: dict[str, list[dict[str, Any]]]


class CannotStart(Exception):
    """The libraries that run an artifact cannot be loaded on this machine."""


def open_onnx(path: str, threads: int) -> OpenedArtifact:
    """Open an ONNX file with ONNX Runtime and numpy alone."""
    try:
        import numpy  # noqa: PLC0415 - each format has its own packages
        import onnxruntime  # noqa: PLC0415
    except ModuleNotFoundError:
        raise
    except (ImportError, MemoryError, OSError) as error:
        raise CannotStart(f"{type(error).__name__}: {error}") from error

    options = onnxruntime.SessionOptions()
    # Do not print errors: they are raised, and must not show text of an untrusted file.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Otherwise ONNX Runtime may take a file, by its first bytes, for one in its own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    source = _limited_content() if path == "-" else path
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    del source
    names = [node.name for node in session.get_inputs()]

    def call(tensors: list[Given], _: Any) -> Answer:
        # If there is only one tensor, it is the one, whatever its name.
        called = names if len(names) == len(tensors) == 1 else [given.name for given in tensors]
        arrays = [
            numpy.array(json.loads(bytes(given.content)), dtype=object)
            if given.dtype == "text"
            else numpy.frombuffer(given.content, given.dtype).reshape(given.shape)
            for given in tensors
        ]
        start = time.perf_counter()
        scores = session.run(None, dict(zip(called, arrays, strict=True)))[0]
        seconds = time.perf_counter() - start
        scores = numpy.ascontiguousarray(scores, numpy.float32)
        return Answer(scores.tobytes(), list(scores.shape), seconds)

    metadata = session.get_modelmeta().custom_metadata_map if path != "-" else {}
    signature = {
        side: [{"name": node.name, "type": node.type, "shape": list(node.shape)} for node in nodes]
        for side, nodes in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    }
    return OpenedArtifact({key.removeprefix("nnrun."): value for key, value in metadata.items()}, call, signature)


def open_torchscript(path: str, threads: int) -> OpenedArtifact:
    """Open a TorchScript file with torch alone."""
    import torch  # noqa: PLC0415

    files = {"nnrun.json": b""}
    network = torch.jit.load(path, map_location="cpu", _extra_files=files)
    return OpenedArtifact(json.loads(files["nnrun.json"]), _call_of_torch(network, threads), {})


def open_pt2(path: str, threads: int) -> OpenedArtifact:
    """Open a PT2 file with torch alone."""
    import torch  # noqa: PLC0415

    files = {"nnrun.json": ""}
    program = torch.export.load(path, extra_files=files)
    return OpenedArtifact(json.loads(files["nnrun.json"]), _call_of_torch(program.module(), threads), {})


def _call_of_torch(network: Any, threads: int) -> Call:
    """Return the function that runs a torch network."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(threads)

    def call(tensors: list[Given], form: Any) -> Answer:
        leaves = [
            torch.frombuffer(bytearray(given.content), dtype=getattr(torch, given.dtype)).reshape(given.shape)
            for given in tensors
        ]
        batch = _tree_of(form, leaves)
        with torch.inference_mode():
            start = time.perf_counter()
            scores = network(batch)
            seconds = time.perf_counter() - start
        scores = scores.float().contiguous()
        return Answer(scores.numpy().tobytes(), list(scores.shape), seconds)

    return call


def _tree_of(form: Any, leaves: list[Any]) -> Any:
    """Return the tree of a structure from `nnrun.core.trees.form_of`, with its tensors in their places."""
    if isinstance(form, int):
        return leaves[form]
    ((kind, parts),) = form.items()
    if kind == "dict":
        return {key: _tree_of(part, leaves) for key, part in parts.items()}
    return {"tuple": tuple, "list": list}[kind](_tree_of(part, leaves) for part in parts)


def open_torchserve(path: str, threads: int) -> OpenedArtifact:
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
    # Return all classes, so that all can be compared.
    handler.card["top_k"] = len(names)

    def call(tensors: list[Given], _: Any) -> Answer:
        ((_, _, shape, content),) = tensors
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
            raise RuntimeError(f"the handler returned status {statuses[0]}: {answers[0]}")
        scores = torch.zeros(number, len(names))
        for row, answer in zip(scores, answers, strict=True):
            for entry in answer["top"]:
                row[place[entry["class"]]] = entry[key]
        return Answer(scores.numpy().tobytes(), [number, len(names)], seconds)

    metadata = {**handler.card, "class_names": json.dumps(names)}
    return OpenedArtifact({key: value for key, value in metadata.items() if isinstance(value, str)}, call, {})


def _given(tensors: list[dict[str, Any]], content: bytes) -> list[Given]:
    """Return the tensors of a batch, whose bytes are concatenated."""
    given, view, start = [], memoryview(content), 0
    for tensor in tensors:
        end = start + tensor["num_bytes"]
        given.append(Given(tensor["name"], tensor["dtype"], tensor["shape"], view[start:end]))
        start = end
    return given


OPENERS: dict[str, Callable[[str, int], OpenedArtifact]] = {
    "onnx": open_onnx,
    "torchscript": open_torchscript,
    "pt2": open_pt2,
    "torchserve": open_torchserve,
}


def _limited_content() -> bytes:
    """Return the bytes of an artifact from the first request; limit the process from here on."""
    request = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read(request["num_bytes"])
    with contextlib.suppress(OSError):  # not every system has this file
        # If memory runs out all the same, the kernel is to kill this process.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _MEMORY.append(_address_space())
    _limit_memory(request)
    return content


# The address space of the libraries, once a limit is set.
_MEMORY: list[int] = []


def _limit_memory(request: dict[str, Any]) -> None:
    """Limit the process to the memory that a request allows."""
    if _MEMORY and "spare_bytes" in request:
        with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            wanted = _MEMORY[0] + request["spare_bytes"]
            resource.setrlimit(
                resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )


def _address_space() -> int:
    """Return how much address space the process uses; 0 if that is unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0
    return pages * resource.getpagesize()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: an artifact may never finish a batch."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        shutil.rmtree(Path.cwd(), ignore_errors=True)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def packages() -> list[str]:
    """Return the packages imported so far, without the standard library."""
    tops = {name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
    return sorted(name for name in tops - sys.stdlib_module_names if not name.startswith("_"))


def _told(error: Exception) -> dict[str, Any]:
    """Return an error as an answer."""
    text = f"{type(error).__name__}: {str(error)[:300]}"
    signs = ("bad_alloc", "Failed to allocate memory", "DefaultCPUAllocator", "vector::_M_", "length_error")
    lacks_memory = isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
    return {"error": text, "lacks_memory": lacks_memory}


def main(format_name: str, path: str, threads: str, parent: str) -> None:
    """Answer requests, a line of JSON and then bytes, until the input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get into the answers.
    os.dup2(2, 1)

    def answer(header: dict[str, Any], content: bytes = b"") -> None:
        answers.write(json.dumps(header).encode() + b"\n" + content)
        answers.flush()

    _end_with(int(parent))
    try:
        opened = OPENERS[format_name](path, int(threads))
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        answer({**_told(error), "missing": missing, "at_start": isinstance(error, CannotStart)})
        return
    answer({"metadata": opened.metadata, "signature": opened.signature})
    while line := requests.readline():
        request = json.loads(line)
        if "packages" in request:
            answer({"packages": packages()})
            continue
        content = requests.read(request["num_bytes"])
        try:
            _limit_memory(request)
            scores = opened.call(_given(request["tensors"], content), request["form"])
        except Exception as error:
            answer(_told(error))
            continue
        sizes = {"shape": scores.shape, "num_bytes": len(scores.content), "seconds": scores.seconds}
        answer(sizes, scores.content)
    # The parent has ended without removing the folder.
    shutil.rmtree(Path.cwd(), ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
