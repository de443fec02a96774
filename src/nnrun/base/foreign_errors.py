"""Explain other code's exceptions to a user: the machine's fault, or that of a plug-in. Needs no torch."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from nnrun.base.errors import ConfigError, NnrunError, OutOfMemory, ResourceError
from nnrun.base.paths import abbreviated

# nnrun's own folder, and Python's.
_LIBRARIES = tuple(str(folder) + os.sep for folder in (Path(__file__).parents[1], Path(os.__file__).parent))

# What to do once a disk has room; of a training that has a checkpoint it is said how to resume it instead.
AGAIN = "then run the command again"
# What the operating system's error numbers mean, and what to do.
_REASONS = {
    errno.ENOSPC: f"the disk is full; free some space, {AGAIN}",
    errno.EDQUOT: f"the disk quota is used up; free some space, {AGAIN}",
    errno.EFBIG: f"the limit on the size of a file is reached; raise it with ulimit -f, {AGAIN}",
    errno.EROFS: "the file system is read-only; choose another folder with hydra.run.dir=",
    errno.EACCES: "permission denied; choose another folder with hydra.run.dir=",
    errno.EPERM: "permission denied; choose another folder with hydra.run.dir=",
    errno.ENOTDIR: "a file exists where a folder is needed; choose another folder with hydra.run.dir=",
    errno.EEXIST: "a file exists where a folder is needed; choose another folder with hydra.run.dir=",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
    errno.ENFILE: "the system has too many open files; close some programs",
    errno.EIO: "the disk reports an input/output error; saved files are intact",
}
# Packages whose module has a different name.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "pillow_heif": "pillow-heif",
    "vl_convert": "vl-convert-python",
    "sklearn": "scikit-learn",
}
# Packages that only one feature needs, and the extra that installs each.
_EXTRAS = {
    "timm": "timm",
    "torchmetrics": "metrics",
    "pillow-heif": "heic",
    "vl-convert-python": "plots",
    **dict.fromkeys(("optuna", "cmaes", "scipy", "scikit-learn"), "sweep"),
    "submitit": "cluster",
    "polars": "table",
    "tokenizers": "text",
    **dict.fromkeys(("transformers", "huggingface_hub"), "hf"),
    **{name: name for name in ("tensorboard", "mlflow", "wandb")},
}
# Errors of torch.compile where a compiler is missing, and what to install.
_COMPILERS = {
    "No working C++ compiler": "a C++ compiler",
    "Failed to find C compiler": "a C compiler",
    "Python.h: No such file": "Python's headers (the package python3-dev)",
    "working triton installation": "the package triton",
    "libcuda.so cannot found": "libcuda.so, of NVIDIA's driver,",
    "too old to be supported by the triton": "a newer GPU",
}
# Out-of-memory messages of CUDA, its libraries and Metal, for which torch has no class.
_NO_MEMORY = (
    *("CUDA error: out of memory", "CUDA out of memory", "HIP error: out of memory", "HIP out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_ALLOC_FAILED"),
    *("CUSPARSE_STATUS_ALLOC_FAILED", "CUFFT_ALLOC_FAILED", "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    *("CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", "MPS backend out of memory", "DefaultCPUAllocator"),
    *("failed to map segment", "annot allocate memory", "std::bad_alloc", "bad allocation", "can't start new thread"),
    *("Thread creation failed", "pthread_create"),
)
# What to do about an error of a library that does not say it.
_HINTS = {
    "Expected more than 1 value per channel": "; BatchNorm needs at least two samples: use data.batch_size=2 or more",
}
# torch's error for an operation under trainer.deterministic=true.
_NOT_DETERMINISTIC = "does not have a deterministic implementation"
# Error numbers that are about the machine, wherever they occur.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO)


def explain(error: OSError) -> str:
    """Return what an error of the operating system means for a user, and what to do."""
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


def lacks_package(what: str, error: ModuleNotFoundError) -> ResourceError:
    """Return the error for a feature whose package is not installed."""
    package = _DISTRIBUTIONS.get(str(error.name), str(error.name))
    wanted = f"'nnrun[{_EXTRAS[package]}]'" if package in _EXTRAS else package
    return ResourceError(f"{what} needs the package {package}, which is not installed: pip install {wanted}")


def check_package(what: str, module: str) -> None:
    """Raise ResourceError if a package is not installed that a feature needs; nothing is imported."""
    found = find_spec(module)
    if found is None or found.origin is None:  # without a file it is a folder of that name, such as ./wandb
        raise lacks_package(what, ModuleNotFoundError(name=module))


def of_the_machine(error: BaseException) -> ResourceError | None:
    """Return an exception that is about the machine as one of our errors; None for any other."""
    if lacks_memory(error):
        return OutOfMemory("out of memory; saved files are intact", "a smaller data.batch_size", "closing programs")
    if "DataLoader worker" in str(error):
        return ResourceError(
            "a data worker process was killed, perhaps because memory ran out; saved files are intact: "
            "try fewer data.num_workers, or data.residency=memory"
        )
    for what, lacks in _COMPILERS.items():
        if what in str(error):
            return ResourceError(
                f"trainer.compile=true needs {lacks}, which torch cannot find; install it, or use trainer.compile=false"
            )
    if "Too many open files" in str(error):
        return ResourceError(_REASONS[errno.EMFILE])
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return ResourceError(f"{error.filename or 'a file'}: {explain(error)}")
    return None


def of_the_system(error: Exception) -> ResourceError | None:
    """Return an unexplained exception as an error about the machine, or about the file that it names; else None.

    The user can change a file's permissions or name.
    """
    if isinstance(error, OSError) and error.filename is not None and error.errno != errno.ENOENT:
        return of_the_machine(error) or ResourceError(f"{abbreviated(str(error.filename))}: {error.strerror}")
    return of_the_machine(error)


def of_determinism(error: BaseException) -> str | None:
    """Return which operation prevents a deterministic run, and what to do; None for any other error."""
    text = str(error)
    if _NOT_DETERMINISTIC in text:
        operation = text.partition(_NOT_DETERMINISTIC)[0].split()[-1:] or ["an operation"]
        return (
            f"uses {operation[0]}, which has no deterministic version on this device; "
            "use trainer.deterministic=false, or a network without it"
        )
    if "CUBLAS_WORKSPACE_CONFIG" in text:
        value = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
        return (
            f"is not deterministic with CUBLAS_WORKSPACE_CONFIG={value or ''} in the environment; "
            "set it to :4096:8, or use trainer.deterministic=false"
        )
    return None


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error with all its causes and contexts, the newest first."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if all(cause is not known for known in found):
            found.append(cause)
            waiting += [before for before in (cause.__cause__, cause.__context__) if before is not None]
    return found


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error of Python's or torch's says that the host or the device ran out of memory."""
    # torch's class is recognized by its name, without importing torch. On the host, torch raises a bare RuntimeError.
    is_named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    is_plain = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return is_named or is_plain or any(words in str(error) for words in _NO_MEMORY)


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn an exception of a plug-in, perhaps the user's code, in the block into a ConfigError that says where.

    `what` is its section of the config. Our own errors and those of the machine pass: they are explained elsewhere.
    """
    try:
        yield
    except NnrunError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in must not choose the exit code
        if of_the_machine(error):
            raise
        if problem := of_determinism(error):
            raise ConfigError(f"trainer.deterministic=true: {what} {problem}") from error
        hint = next((hint for said, hint in _HINTS.items() if said in str(error)), "")
        raise ConfigError(f"{what} fails with {said_by(error)}{place_of(error)}{hint}") from error


def of_own_code(error: BaseException, files: Collection[str]) -> ConfigError | None:
    """Return an exception as an error in the user's own code; None if none of `files` was running."""
    if not isinstance(error, Exception) or not any(file in files for file, _ in _frames(error.__traceback__)):
        return None
    return ConfigError(f"your own code fails with {said_by(error)}{place_of(error)}")


def said_by(error: BaseException) -> str:
    """Return an exception's class and the first two lines of its message: torch appends a page of C++ frames."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
    return ": ".join([type(error).__name__, *([" ".join(lines)] if lines else [])])[:500]


def place_of(error: BaseException) -> str:
    """Return ` (file, line n)` of the innermost frame outside nnrun and libraries, else of the innermost frame."""
    if isinstance(error, SyntaxError):  # its message names the place
        return ""
    frames = list(_frames(error.__traceback__))
    own = [frame for frame in frames if not _is_library(frame[0])]
    return " ({}, line {})".format(*(own or frames)[-1]) if frames else ""


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    """Yield the file and the line of each call, the outermost first."""
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _is_library(file: str) -> bool:
    """Return whether a file is nnrun's, an installed package's such as torch, or Python's own."""
    return file.startswith((*_LIBRARIES, "<")) or f"{os.sep}site-packages{os.sep}" in file
