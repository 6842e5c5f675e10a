"""Models from the Hugging Face hub: pinned, resumed, and every file checked against the hub's own digests."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness_llm.errors import FolderError, HostError, ModelError
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.disk import require_space, size_below
from harness_llm.fetch.folder import begin_record, exclusive, is_fetched, read_record, write_record
from harness_llm.fetch.hub_errors import SAME_AGAIN, explained
from harness_llm.fetch.transfer import StillWorking

_WORKERS = 8
# Other formats of the same weights, where the hub has safetensors too.
_DUPLICATES = ("*.bin", "*.bin.index.json", "*.pth", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "original/*")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubModel:
    """A model repository at one revision.

    Attributes:
        repository: `owner/name` on the hub.
        revision: Commit, tag or branch; a name is resolved to its commit before anything is downloaded.
        folder: Name of the folder that it lands in.
    """

    repository: str
    revision: str
    folder: str


@dataclass(frozen=True)
class _RemoteFile:
    size: int
    digest: Digest


def fetch_hub_model(
    model: HubModel,
    root: Path,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    rehash: bool = False,
) -> Path:
    """Get a model into `root`/`model.folder`, or find it there.

    Args:
        model: What to get.
        root: Folder of models.
        token: The user's access token; None for the one that a login of the hub's own tools left.
        endpoint: Another hub; None for HF_ENDPOINT or the public one.
        rehash: Hash files that are there already, even where nothing about them changed.

    Returns:
        The folder.

    Raises:
        ConfigError: The token is wrong.
        FolderError: The folder holds another repository's model.
        ModelError: The repository is gated for this user, or it or its revision does not exist.
        HostError: The download failed; what has arrived stays, and the next call goes on from it.
    """
    folder = root / model.folder
    source = {"repository": model.repository, "revision": model.revision}
    if is_fetched(folder, source, rehash=rehash):
        _logger.info("%s is complete", folder)
        return folder
    told = explained(model.repository, model.revision, folder, has_token=token is not None)
    with exclusive(folder), told:
        _refuse_another(model, folder)
        commit, files = _list_files(model, token, endpoint)
        _remove_unlisted(folder, files)
        begin_record(folder, source, files)
        total = sum(file.size for file in files.values())
        require_space(folder, max(0, total - size_below(folder)))
        _logger.info("%s @%s: %d files, %.1f GB", model.repository, commit[:12], len(files), total / 1e9)
        _download_checked(model, commit, files, folder, token, endpoint)
        known = {name: file.digest.value for name, file in files.items() if file.digest.algorithm == "sha256"}
        write_record(folder, source, known=known, notes={"commit": commit}, only=files)
    _logger.info("%s is complete", folder)
    return folder


def _refuse_another(model: HubModel, folder: Path) -> None:
    """Two owners may give their models the same name, and a mixture of two would load."""
    record = read_record(folder)
    held = model.repository if record is None else record["source"].get("repository", "something else")
    if held != model.repository:
        raise FolderError(
            f"{folder} holds {held}, not {model.repository}",
            "Move it away, or set LAB_MODEL to another folder.",
        )


def _remove_unlisted(folder: Path, files: Mapping[str, _RemoteFile]) -> None:
    """Remove what another revision brought, whole or in part, and this one has not."""
    record = read_record(folder)
    for name in () if record is None else record["files"].keys() - files.keys():
        (folder / name).unlink(missing_ok=True)


def _list_files(
    model: HubModel, token: str | None, endpoint: str | None
) -> tuple[str, dict[str, _RemoteFile]]:
    """The commit that the revision means, and what it holds, less second copies of the weights."""
    from huggingface_hub import HfApi

    reply = HfApi(endpoint=endpoint, token=token).model_info(
        model.repository, revision=model.revision, files_metadata=True
    )
    files = {}
    for sibling in reply.siblings or []:
        if sibling.lfs is not None:
            files[sibling.rfilename] = _RemoteFile(sibling.lfs.size, Digest("sha256", sibling.lfs.sha256))
        elif sibling.blob_id is not None and sibling.size is not None:
            files[sibling.rfilename] = _RemoteFile(sibling.size, Digest("git-sha1", sibling.blob_id))
    if any(name.endswith(".safetensors") for name in files):
        files = {
            name: file
            for name, file in files.items()
            if not any(fnmatch.fnmatch(name, pattern) for pattern in _DUPLICATES)
        }
    if not files or reply.sha is None:
        raise ModelError(f"{model.repository} @{model.revision} holds no files")
    return reply.sha, files


def _download_checked(
    model: HubModel,
    commit: str,
    files: Mapping[str, _RemoteFile],
    folder: Path,
    token: str | None,
    endpoint: str | None,
) -> None:
    """Download what is missing, and once more what was there or arrived wrong."""
    for is_last in (False, True):
        _download(model, commit, files, folder, token, endpoint)
        missing = _remove_wrong(model, folder, files)
        if not missing:
            return
        if not is_last:
            _logger.warning("%s; getting it again", "; ".join(missing))
    raise HostError(missing[0], SAME_AGAIN)


def _download(
    model: HubModel,
    commit: str,
    files: Mapping[str, _RemoteFile],
    folder: Path,
    token: str | None,
    endpoint: str | None,
) -> None:
    from huggingface_hub import snapshot_download

    total = sum(file.size for file in files.values())

    def line() -> str:
        return f"{model.repository}: {size_below(folder) / 1e9:.2f} of {total / 1e9:.2f} GB"

    # On a terminal the hub's own bars show progress.
    with contextlib.nullcontext() if sys.stderr.isatty() else StillWorking(line):
        snapshot_download(
            model.repository,
            revision=commit,
            local_dir=folder,
            allow_patterns=[_literal(name) for name in files],
            max_workers=_WORKERS,
            token=token,
            endpoint=endpoint,
        )


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _remove_wrong(model: HubModel, folder: Path, files: Mapping[str, _RemoteFile]) -> list[str]:
    """Check every file, and remove those that are wrong; returns what is missing then, with the reason."""
    done = 0
    missing = []
    total = sum(file.size for file in files.values())
    with StillWorking(lambda: f"{model.repository}: {done / 1e9:.1f} of {total / 1e9:.1f} GB checked"):
        for name, file in files.items():
            path = folder / name
            if not path.is_file():
                missing.append(f"{path} did not arrive")
            elif path.stat().st_size != file.size or not file.digest.matches(path):
                missing.append(f"{path} arrived with {file.digest.of(path)}, the hub says {file.digest}")
                path.unlink()
            done += file.size
    return missing
