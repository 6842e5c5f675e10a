"""Read the configuration that a run wrote into its folder, in the form of this version or of an older one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness_llm import engines
from harness_llm.config.explain import explain
from harness_llm.config.harness import RunConfig
from harness_llm.config.nodes import UnreadableError, parse
from harness_llm.config.run_keys import RunKeys
from harness_llm.core import Scenario
from harness_llm.datasets import kinds as datasets
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

_DEVICES = "devices_per_replica"
_MOVED = {
    "dataset_path": "path",
    "dataset_shape": "shape",
    "dataset_samples": "samples",
    "dataset_seed": "seed",
    "chat_template": "chat_template",
}
"""Keys that stood beside `dataset`, when that was a name, and what they are called in it."""


def load_recorded(path: Path) -> RunConfig:
    """Read `config/<Scenario>.yaml` of a run folder; it is resolved, so nothing is replaced or merged.

    A key of an older version goes where it belongs now; one that did nothing in that run is left out.

    Raises:
        ConfigError: The file is missing, or no run of any version wrote it so.
    """
    try:
        root, mistakes = parse(read_text(path), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", "Name a whole run folder.") from error
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
    document = root.plain()
    try:
        config = RunConfig.model_validate(_upgraded(document))
    except ValidationError as error:
        raise ConfigError("\n".join(map(str, [*mistakes, *explain(error, root, RunKeys(root))]))) from error
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))
    return config


def _upgraded(document: Any) -> Any:
    harness = document.get("harness_config") if isinstance(document, dict) else None
    if not isinstance(harness, dict):
        return document
    now = dict(harness)
    if isinstance(engine := now.get("engine"), str):
        options = {**(now.pop("simulated", None) or {}), _DEVICES: now.pop(_DEVICES, None)}
        now["engine"] = {"kind": engine, **_known(engines.KINDS, engine, options)}
    if now.get("port") is not None:
        now.setdefault("interface", "127.0.0.1")  # where TCP alone was before
    if isinstance(now.get("dataset"), str):
        shared = {key: now.get(key) for key in ("dataset_seed", "chat_template")}
        if isinstance(tests := now.get("tests"), dict):
            now["tests"] = {name: _with_dataset(test, shared) for name, test in tests.items()}
        now = _with_dataset(now, {})
        if now.get("scenario") != Scenario.OFFLINE:
            now.pop("offline_backlog", None)
    return {**document, "harness_config": now}


def _with_dataset(node: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """harness_config, or an entry of its tests, with the keys of the data set in it; `shared` are of all."""
    kind = node.get("dataset")
    given = {_MOVED[key]: value for key, value in (shared | node).items() if key in _MOVED}
    rest = {key: value for key, value in node.items() if key not in _MOVED}
    return {**rest, "dataset": {"kind": kind, **_known(datasets.KINDS, kind, given)}}


def _known(kinds: Mapping[str, type[BaseModel]], kind: object, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given keys that mean something to this kind, and were set."""
    fields = kinds[kind].model_fields if isinstance(kind, str) and kind in kinds else {}
    return {key: value for key, value in given.items() if key in fields and value is not None}
