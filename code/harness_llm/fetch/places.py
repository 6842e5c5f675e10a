"""Where models and data sets lie, on a host and inside the project's containers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def model_root(environment: Mapping[str, str]) -> Path:
    """Folder with one folder a model: `LAB_MODEL`, or `/model` in a container, or the host's default."""
    return _root(environment, "LAB_MODEL", Path("/model"), Path("/data/inference/model"))


def dataset_root(environment: Mapping[str, str]) -> Path:
    """Folder with one folder a data set: `LAB_DATASET`, or `/data` in a container, or the host's default."""
    return _root(environment, "LAB_DATASET", Path("/data"), Path("/data/inference/data"))


def _root(environment: Mapping[str, str], name: str, mounted: Path, default: Path) -> Path:
    if value := environment.get(name, "").strip():
        return Path(value).expanduser().absolute()
    if mounted.is_dir() and any(mark.exists() for mark in _CONTAINER_MARKS):
        return mounted
    return default
