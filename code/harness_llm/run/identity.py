"""What a run is: everything that decides what it measures, by name; one that continues must be the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.engines import EngineKind
from harness_llm.errors import FolderError
from harness_llm.files import file_digest, read_regular, write_atomically
from harness_llm.results.paths import FACTS_JSON
from harness_llm.results.reading import as_json
from harness_llm.secret_values import masked_document
from harness_llm.system import accelerators, provenance

_NOT_MEASURED = {
    "engine_start_timeout_s",
    "silence_timeout_s",
    "stall_timeout_s",
    "on_replica_failure",
    "interface",
    "port",
    "early_end",
}
"""How long to wait for an engine and where processes meet decide nothing: a run that ended for one of those
can go on with another."""
_BY_CONTENT = {
    "user_conf": True,
    "reference": True,
    "dataset": {"path"},
    "tests": {"__all__": {"dataset": {"path"}}},
}
"""Paths of files; their content is in the identity instead."""
_LEFT_OUT: dict[str, Any] = dict.fromkeys(_NOT_MEASURED, True) | _BY_CONTENT
_NOT_THE_ENGINES = re.compile(
    r"the data set\b.*|user\.conf|the reference|package .*|harness_config\.(?:benchmark|dataset|tests"
    r"|user_conf|max_tokens|min_tokens|metric|reference|measured_rate|offline_backlog)\b.*"
)
"""What may differ between runs of the same engines; the digest of samples has limits of answers in it."""

_ENVIRONMENT = re.compile(
    r"(?:VLLM|CUDA|NCCL|NVIDIA|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|FLASHINFER|OMP|MKL|KMP|GOMP|HIP|ROCR|ROCM|HSA|AITER"
    r"|RCCL|UCX|XLA)_\w+|HARNESS_LLM_KERNELS|LD_PRELOAD|MALLOC_\w+|GLIBC_TUNABLES"
)
_NO_MATTER = re.compile(r"LOG|DEBUG|TRACE|CACHE|USAGE|STATS|_HOME$|_DIR$|_PATH$|_VERSION$|HOST_IP|PORT")
_SHOWN = 6
_LONGEST = 60  # characters


def identity(
    configs: Sequence[RunConfig],
    user_conf: UserConf,
    table: SampleTable,
    own_tables: Mapping[str, SampleTable],
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Each thing that decides what is measured, by its name for people.

    Versions of the engine and of what it stands on belong to it: half a run of each is a run of neither. So
    do the checkpoint's content, the accelerators, and variables that engines read.
    """
    found = {"the data set": table.digest, "user.conf": _digest(user_conf.text)}
    found |= {f"the data set of {name}": own.digest for name, own in own_tables.items()}
    for config in configs:
        document = config.model_dump(mode="json", exclude={"harness_config": _LEFT_OUT})
        scenario = config.harness_config.scenario
        found |= {f"{key} ({scenario})": value for key, value in _flat(masked_document(document))}
    for path in dict.fromkeys(config.model_path for config in configs if config.engine.needs_checkpoint):
        checkpoint = next(config.checkpoint for config in configs if config.model_path == path)
        if checkpoint is not None:
            found |= {f"{path}/{name}": state for name, state in checkpoint.content().items()}
    reference = configs[0].harness_config.reference
    if reference is not None and reference.is_file():
        found["the reference"] = file_digest(reference)
    found |= {f"package {name}": version for name, version in provenance.packages().items()}
    found |= {
        f"variable {name}": str(masked_document(value, name))
        for name, value in environment.items()
        if _ENVIRONMENT.fullmatch(name) and not _NO_MATTER.search(name)
    }
    models = Counter(found.name for found in accelerators.read().accelerators)
    found["accelerators"] = ", ".join(f"{count} x {name}" for name, count in sorted(models.items())) or "none"
    return found


def digest(found: Mapping[str, str]) -> str:
    """SHA-256 of an identity: two runs with one can be joined."""
    return _digest(json.dumps(found, sort_keys=True))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two identities, a line each; of many the first."""
    names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    lines = [f"{name}: was {_shown(before.get(name))}, is {_shown(now.get(name))}" for name in names[:_SHOWN]]
    return lines + ([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])


def of_engines(found: Mapping[str, str], scenario: Scenario) -> dict[str, str]:
    """The part of an identity that decides what the engines of a scenario are, whatever they are asked."""
    others = tuple(f" ({other})" for other in Scenario if other is not scenario)
    return {
        name: value
        for name, value in found.items()
        if not name.endswith(others) and not _NOT_THE_ENGINES.fullmatch(name)
    }


class EngineFactsBefore:
    """What the engines of a group said of themselves when its complete tests were measured.

    Args:
        folder: Of the group's replicas, by number below it; read at once, for to load engines writes it anew.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {path: read_regular(path) for path in sorted(folder.glob(f"*/{FACTS_JSON}"))}

    def require(self, kind: type[EngineKind], now: Sequence[Mapping[str, Any]]) -> None:
        """Refuse engines that made something else of the same arguments.

        Raises:
            FolderError: They did; names what. What they said before stays in the folder.
        """
        facts = {
            path.parent.name: json.loads(as_json(found))
            for path, found in zip(self._files, now, strict=False)
        }
        for path, content in self._files.items():
            before = dict(_flat(kind.identity(json.loads(content))))
            found = differences(before, dict(_flat(kind.identity(facts.get(path.parent.name, {})))))
            if found:
                for file, text in self._files.items():
                    write_atomically(file, text)
                raise FolderError(
                    f"{path.parent}: the engine is not what it was when this run began:\n  "
                    + "\n  ".join(found),
                    "Start over in a new folder with --output.",
                )


def _flat(document: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and JSON text of each value in a document."""
    if isinstance(document, Mapping) and document:
        for name, value in document.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(document, sort_keys=True, default=str)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _shown(value: str | None) -> str:
    if value is None:
        return "not there"
    if re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
