"""Upload a folder to a repository of huggingface.co, with the token that the environment has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnrun.base.errors import ResourceError
from nnrun.base.foreign_errors import lacks_package
from nnrun.base.paths import shown

_NEEDS = "export.hub.repo"
# What the hub answers to a token that is not known, or that may not do this.
_REFUSALS = (401, 403)
_LONGEST = 200


def token_of_environment() -> str:
    """Return the token of the environment: HF_TOKEN, or that of `hf auth login`; raise ResourceError without one."""
    library = _library()
    token = library.get_token()
    if not token:
        raise ResourceError(
            f"{_NEEDS} uploads with a token, and there is none: set HF_TOKEN to one with the right to write "
            "(huggingface.co/settings/tokens), or remove the setting"
        )
    return str(token)


def uploaded(folder: Path, repo: str, *, private: bool) -> dict[str, Any]:
    """Upload a folder as a commit of a repository, which is made if it is not there; return where it is.

    Raises ResourceError that says why it is not uploaded.
    """
    library, token = _library(), token_of_environment()
    hub = library.HfApi(token=token)
    try:
        existed = bool(hub.repo_exists(repo))
        if not existed:
            hub.create_repo(repo, private=private, exist_ok=True)
        info = hub.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a network trained with nnrun")
    except Exception as error:
        hint = f"the folder is complete and verified; upload it with: hf upload {repo} {shown(folder)}"
        raise ResourceError(_why_not(error, repo, token), hint) from error
    return {"repo": repo, "commit": info.oid, "url": info.commit_url, "existed": existed}


def _why_not(error: Exception, repo: str, token: str) -> str:
    """Return why a folder was not uploaded, without the token."""
    start = f"{_NEEDS}={repo}: not uploaded"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSALS:
        owner = repo.partition("/")[0]
        return f"{start}: the hub refused the token ({status}): it needs the right to write to {owner}"
    if status is None and not isinstance(error, ValueError):
        return f"{start}: the hub cannot be reached ({type(error).__name__})"
    said = " ".join(str(error).split()).replace(token, "***")
    return f"{start}: {shown(said[:_LONGEST])}"


def _library() -> Any:
    """Import the library, which only an upload needs."""
    try:
        import huggingface_hub  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise lacks_package(_NEEDS, error) from error
    return huggingface_hub
