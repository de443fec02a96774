"""The files of a Hugging Face model: a folder, or a snapshot of a repository of the hub at one commit."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.base.errors import ArtifactError, ConfigError, ResourceError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import expanded, shown

CONFIG, TOKENIZER, CARD = "config.json", "tokenizer.json", "README.md"
# The image processor; newer versions of transformers write the second.
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS = ("model.safetensors", "model-*.safetensors")
_INDEX = "model.safetensors.index.json"
# Only these are downloaded: no code, no pickle, no copies in other formats.
_WANTED = (CONFIG, TOKENIZER, CARD, *PROCESSORS, *_WEIGHTS, _INDEX)
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_HASH = "sha256-"


@dataclass(frozen=True)
class HubFiles:
    """A folder with the files of a model, and the revision that names their content."""

    name: str
    folder: Path
    revision: str
    is_local: bool

    @property
    def title(self) -> str:
        """The name and the revision, for messages."""
        return f"{shown(self.name)} ({self.revision[: len(_HASH) + 12 if self.is_local else 12]})"

    def path(self, file: str) -> Path | None:
        """Return the path of a file, None if there is none."""
        path = self.folder / file
        return path if path.is_file() else None

    def read(self, file: str) -> dict[str, Any] | None:
        """Return the content of a JSON file, None if there is none; raise ArtifactError if it is no JSON object."""
        path = self.path(file)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{shown(path)} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise ArtifactError(f"{shown(path)} is not a JSON object")
        return content

    @property
    def licence(self) -> str | None:
        """The licence that the head of the model card states; None if it states none."""
        path = self.path(CARD)
        found = None if path is None else re.match(r"---\s*\n(.*?)\n---", path.read_text("utf-8", "replace"), re.DOTALL)
        stated = re.findall(r"^license(?:_name)?:[ \t]*(\S.*)$", found[1] if found else "", re.MULTILINE)
        return shown(", ".join(each.strip(" \t'\"") for each in stated))[:100] or None


def files_of(name: str, revision: str | None) -> HubFiles:
    """Return the files of a model: those in a folder, or those of a repository, downloaded unless they are cached.

    Raises ConfigError where there is no such folder or repository, ArtifactError where it lacks config.json or
    weights in safetensors, ResourceError where the hub cannot be reached.
    """
    folder = expanded(str(name)).absolute()
    stats = [path.stat() for path in _hashed(folder) if path.is_file()]
    return _files_of(folder, str(name), revision, tuple((each.st_size, each.st_mtime_ns) for each in stats))


@functools.lru_cache(maxsize=8)
def _files_of(folder: Path, name: str, revision: str | None, sizes_and_times: tuple[tuple[int, int], ...]) -> HubFiles:
    """Do the same; a folder is read again only where its files have other `sizes_and_times`."""
    if sizes_and_times or folder.is_dir():
        files = HubFiles(name, folder.absolute(), "", is_local=True)
        _check(files)
        found = _hash_of(files.folder)
        if revision is not None and not revision.startswith(_HASH):
            raise ConfigError.of("model.revision", revision, f"{found} or null for the folder {shown(folder)}")
        if revision not in (None, found):
            raise ArtifactError(
                f"{shown(folder)} has changed: it was model.revision={shown(revision)}, and now is {found}; to use it "
                "as it is now, start a new run"
            )
        return HubFiles(name, files.folder, found, is_local=True)
    if not _REPOSITORY.fullmatch(name) or (revision or "").startswith(_HASH):
        raise ConfigError.of("model.name", name, "a folder that exists, or a repository owner/name of huggingface.co")
    folder = _downloaded(name, revision)
    files = HubFiles(name, folder, folder.name, is_local=False)
    _check(files)
    return files


def _downloaded(name: str, revision: str | None) -> Path:
    """Return the snapshot of a repository of the hub; the last part of its path is the commit."""
    try:
        import huggingface_hub  # noqa: PLC0415 - a model in a folder does not need it
        from huggingface_hub import errors  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise lacks_package("model=hf", error) from error
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except errors.GatedRepoError as error:
        raise ResourceError(
            f"model.name={name} asks for an agreement: accept it on huggingface.co/{name}, and set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        hint = "no such folder, and no such public repository on huggingface.co; for a private one set HF_TOKEN"
        raise ConfigError.of("model.name", name, "a folder, or a repository owner/name", hint) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError.of("model.revision", revision, f"a commit, branch or tag of {name}") from error
    except Exception as error:
        at = "" if revision is None else f" at {revision}"
        raise ResourceError(
            f"model.name={name}: there is no such folder, huggingface.co cannot be reached ({type(error).__name__}), "
            f"and its cache does not have {name}{at}",
            f"put {CONFIG}, model.safetensors, and {TOKENIZER} (texts) or {PROCESSORS[0]} (images) of "
            f"https://huggingface.co/{name} into a folder, and set model.name=FOLDER",
        ) from error


def _check(files: HubFiles) -> None:
    """Raise ArtifactError unless a folder has a config without code, and weights in safetensors."""
    where = shown(files.name)
    config = files.read(CONFIG)
    if config is None:
        raise ArtifactError(f"model.name={where} has no {CONFIG}")
    if "auto_map" in config:
        raise ArtifactError(
            f"model.name={where} brings code of its own (auto_map in {CONFIG}: {_names_in(config['auto_map'])}), which "
            "is never run (trust_remote_code); choose a model that transformers has itself"
        )
    if not weights_in(files.folder):
        others = sorted(path.name for path in files.folder.glob("*.bin"))
        why = f"; {others[0]} is a pickle, which can run code, and is not read" if others else ""
        raise ArtifactError(
            f"model.name={where} has no model.safetensors{why}; AutoModel.from_pretrained(...).save_pretrained(FOLDER) "
            "of transformers writes one"
        )


def weights_in(folder: Path) -> list[Path]:
    """Return the files of a folder with weights in safetensors."""
    return sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern) if path.is_file())


def _hashed(folder: Path) -> list[Path]:
    """Return the files whose content is the revision of a folder."""
    return [folder / CONFIG, *weights_in(folder)]


def _hash_of(folder: Path) -> str:
    """Return a hash of the weights and the config of a folder."""
    sha256 = hashlib.sha256()
    for path in _hashed(folder):
        with path.open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    return _HASH + sha256.hexdigest()[:40]


def _names_in(auto_map: Any) -> str:
    """Return the names of the classes in `auto_map`, for a message."""
    names = auto_map.values() if isinstance(auto_map, Mapping) else [auto_map]
    return shown(", ".join(str(name) for name in names)[:200])
