"""What the supervisor tells a child to do, as a file in the run folder: a child can be started by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from harness_llm.core import Mode, Scenario  # noqa: TC001 - msgspec reads the annotations at run time
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ReplicaSpec", "TestSpec", "read_spec", "write_spec"]


class TestSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One LoadGen test.

    Attributes:
        name: `Offline/performance`, also the child's name on the control plane.
        loadgen_model: Name that LoadGen looks up in mlperf.conf and user.conf.
        scenario: The scenario as submitted.
        mode: LoadGen's mode.
        folder: Where LoadGen's logs and the events file go.
        samples: The sample table's file.
        user_conf: The copy of user.conf to read.
        audit_conf: audit.config of a compliance test, or None.
        replicas: Data endpoints, by replica number.
        control: The supervisor's endpoint.
        offline_backlog: Samples queued at a replica beyond those it works on; None for as many again.
        silence_s: A replica that is silent for longer is lost, seconds.
    """

    __test__ = False  # no pytest class

    name: str
    loadgen_model: str
    scenario: Scenario
    mode: Mode
    folder: str
    samples: str
    user_conf: str
    audit_conf: str | None
    replicas: list[str]
    control: str
    offline_backlog: int | None
    silence_s: float


class ReplicaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One replica.

    Attributes:
        index: Its number.
        name: Its name on the control plane.
        control: The supervisor's endpoint.
        endpoint: Where to listen for loadgen processes.
        engine: `vllm` or `simulated`.
        engine_arguments: `llm_config` as it is, or the simulated engine's latencies.
    """

    index: int
    name: str
    control: str
    endpoint: str
    engine: str
    engine_arguments: dict[str, Any]


_Spec = TypeVar("_Spec", TestSpec, ReplicaSpec)


def write_spec(spec: TestSpec | ReplicaSpec, path: Path) -> None:
    """Write a spec as readable JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")


def read_spec(kind: type[_Spec], path: Path) -> _Spec:
    """Read a spec back.

    Raises:
        ConfigError: The file is missing or is no such spec.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: not a {kind.__name__}: {error}") from error
