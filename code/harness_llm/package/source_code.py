"""The source code of a submission: exactly the commit that ran."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

import harness_llm
from harness_llm.errors import FolderError
from harness_llm.system import provenance

_NEVER = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "results", "inference_results_*", "*.pyc")


def project_root() -> Path:
    """The checkout that this package is imported from: the folder that holds `code/`."""
    return Path(next(iter(harness_llm.__path__))).resolve().parents[1]


def write_source(commit: str | None, repository: Path, folder: Path) -> Path:
    """Put the source below `folder` and return where it lies.

    Runs of different commits lie side by side, so that each result keeps the source that made it.

    Args:
        commit: The commit that ran; None where the run was made outside of a git checkout, then the files
            that are there now are copied.
        repository: The project's checkout.
        folder: `src/<benchmark>` or `code/<benchmark>` in the tree.

    Raises:
        FolderError: The checkout does not have that commit.
    """
    target = folder / (f"harness_llm-{commit[:12]}" if commit else "harness_llm-no_commit")
    if commit is None:
        shutil.rmtree(target, ignore_errors=True)
        _copy_files(repository, target)
    elif not target.exists():
        archive = provenance.git(repository, "archive", "--format=tar", commit)
        if archive is None:
            raise FolderError(
                f"{repository}: git cannot read commit {commit}, which this run was made with",
                "Package from the checkout that ran, or fetch that commit into this one.",
            )
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            # The attribute, because `filter=` is unknown to Python 3.11 before 3.11.4, as on Debian 12.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(target, members=_plain(tar))
    return target


def _plain(tar: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    """Folders and files; a submission cannot hold links."""
    return (member for member in tar if member.isfile() or member.isdir())


def _copy_files(repository: Path, target: Path) -> None:
    if (repository / "code" / "harness_llm").is_dir():
        shutil.copytree(repository, target, ignore=_NEVER, symlinks=False, ignore_dangling_symlinks=True)
    else:  # installed as a wheel: the package itself is all there is
        shutil.copytree(Path(next(iter(harness_llm.__path__))), target / "harness_llm", ignore=_NEVER)
