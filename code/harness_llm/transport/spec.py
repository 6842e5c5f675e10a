"""What a child is told to do, as a file in the run folder, so that it can be started by hand."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from harness_llm.core import Mode, Scenario  # noqa: TC001 - msgspec reads the annotations at run time
from harness_llm.errors import ConfigError
from harness_llm.secret_values import hidden, revealed
from harness_llm.transport.keys import Keys  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from pathlib import Path


SECRETS_VARIABLE = "HARNESS_LLM_SECRETS"
"""Environment variable of a child with the secrets of its spec, JSON."""


class LoadgenTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One LoadGen test: what LoadGen is told, what is expected of it, and how patient one is with it.

    Attributes:
        name: `Offline/performance`: its folder under the run, and its name for people.
        scenario: The scenario as submitted.
        mode: LoadGen's mode.
        loadgen_model: Name that LoadGen looks up in mlperf.conf and user.conf.
        user_conf: Text of LoadGen's user.conf.
        target_qps: What that text sets for this test, samples a second.
        samples: The sample table's file; in a plan its name in the run folder.
        audit_conf: Text of audit.config for a compliance test, or None.
        expected: Queries expected in all; None where it cannot be known before.
        ttft_limit_ms: p99 limit; None where the verdict on the test does not judge it.
        tpot_limit_ms: p99 limit; None where the verdict on the test does not judge it.
        offline_backlog: Samples queued at a replica beyond those it works on; None for as many again.
        silence_timeout_s: A process of the test that is silent for longer is lost, seconds.
        stall_timeout_s: A replica that has work and generates nothing for longer is lost, and a test in which
            nothing is asked, begun or answered for longer is ended, seconds; None: derived (fleet/pace.py).
        on_replica_failure: Whether the loss of a replica ends the test, or its samples go to the others.
        early_end: Whether its process says, as soon as it knows, that the test cannot be VALID any more.
    """

    name: str
    scenario: Scenario
    mode: Mode
    loadgen_model: str
    user_conf: str
    target_qps: float
    samples: str
    audit_conf: str | None = None
    expected: int | None = None
    ttft_limit_ms: float | None = None
    tpot_limit_ms: float | None = None
    offline_backlog: int | None = None
    silence_timeout_s: float = 8.0
    stall_timeout_s: float | None = None
    on_replica_failure: Literal["fail", "redispatch"] = "fail"
    early_end: bool = False

    def with_samples(self, file: Path) -> LoadgenTest:
        """The same test on the samples in `file`."""
        return msgspec.structs.replace(self, samples=str(file.resolve()))

    def with_qps(self, target_qps: float) -> LoadgenTest:
        """The same test at another rate, samples a second; how many queries that makes is not known.

        The rate is set for this model and scenario alone, which wins over every line for several.
        """
        assert 0 < target_qps < math.inf
        told = self.with_setting("target_qps", target_qps)
        return msgspec.structs.replace(told, target_qps=target_qps, expected=None)

    def with_setting(self, name: str, value: float) -> LoadgenTest:
        """The same test with a key of user.conf set for this model and scenario, which wins over `*`."""
        key = f"{self.loadgen_model}.{self.scenario.loadgen_name}.{name}"
        others = [line for line in self.user_conf.split("\n") if line.split()[:1] != [key]]
        text = "\n".join(others).rstrip("\n") + f"\n{key} = {value!r}\n"
        return msgspec.structs.replace(self, user_conf=text)


class LoadgenSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One loadgen process.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        replicas: Data endpoints, by replica number.
        folder: Where user.conf, LoadGen's logs and the events file go.
        test: What it runs.
        keys: What it shows whom it connects to; None on Unix sockets.
    """

    name: str
    control: str
    replicas: list[str]
    folder: str
    test: LoadgenTest
    keys: Keys | None = None


class ReplicaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One replica.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        listen: Where it may listen for loadgen processes, as `control.bind_within` takes it; its Ready says
            where it does.
        engine: The engine's kind, e.g. `vllm`.
        engine_arguments: The engine's own arguments, as they were given; secrets in them are left out of the
            file.
        keys: Who may connect to it, and what it shows the supervisor; None on Unix sockets.
    """

    name: str
    control: str
    listen: str
    engine: str
    engine_arguments: dict[str, Any]
    keys: Keys | None = None


class TelemetrySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The telemetry process.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        recording: File of readings that it replays; None reads this host's accelerators.
        keys: What it shows the supervisor; None on Unix sockets.
    """

    name: str
    control: str
    recording: str | None = None
    keys: Keys | None = None


class DriverTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A load that no LoadGen makes: what is asked, when, and for how long.

    Attributes:
        name: Its folder, and its name for people.
        samples: The sample table's file.
        schedule: File of the rows to ask, in order; see `driver.issuers.Schedule`.
        rule: When a row is issued: at its time (`timed`), as soon as fewer than `width` are open (`slots`),
            or `width` together when those before are answered (`groups`).
        width: See `rule`.
        warm_up: Rows that are asked, and answered, before the start.
        think_ns: `slots`: how long a slot rests between an answer and the next row, nanoseconds.
        period_ns: `timed`: when the schedule starts over, nanoseconds after the start; see `issuers.Timed`.
        limit_ns: Not of `timed`: rows that are issued until then, nanoseconds after the start, are measured,
            and the schedule starts over as often as that takes; None measures each row once.
        tail: Whether it keeps asking the same rows, unmeasured, until Finish.
        silence_timeout_s: A process that is silent for longer is lost, seconds.
        stall_timeout_s: A replica that has work and generates nothing for longer is lost; None: derived.
    """

    name: str
    samples: str
    schedule: str
    rule: Literal["timed", "slots", "groups"]
    width: int = 1
    warm_up: int = 0
    think_ns: int = 0
    period_ns: int | None = None
    limit_ns: int | None = None
    tail: bool = True
    silence_timeout_s: float = 8.0
    stall_timeout_s: float | None = None


class DriverSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One driver process; as `LoadgenSpec`.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        replicas: Data endpoints, by replica number.
        folder: Where the events file goes.
        test: What it asks.
        keys: What it shows whom it connects to; None on Unix sockets.
    """

    name: str
    control: str
    replicas: list[str]
    folder: str
    test: DriverTest
    keys: Keys | None = None


_Spec = TypeVar("_Spec", bound=msgspec.Struct)


def write_spec(spec: msgspec.Struct, path: Path) -> dict[str, str]:
    """Write a spec as readable JSON, for its owner alone.

    Returns:
        Variables for the child's environment: the secrets that the file does not hold.
    """
    secrets: dict[str, str] = {}
    if isinstance(spec, ReplicaSpec):
        arguments, secrets = hidden(spec.engine_arguments)
        spec = msgspec.structs.replace(spec, engine_arguments=arguments)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
    return {SECRETS_VARIABLE: json.dumps(secrets)} if secrets else {}


def read_spec(kind: type[_Spec], path: Path) -> _Spec:
    """Read a spec back.

    Raises:
        ConfigError: The file is missing or is no such spec, or a secret of it is not in the environment.
    """
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=kind)
        if isinstance(spec, ReplicaSpec):
            secrets = json.loads(os.environ.get(SECRETS_VARIABLE, "{}"))
            arguments = revealed(spec.engine_arguments, secrets)
            spec = msgspec.structs.replace(spec, engine_arguments=arguments)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a {kind.__name__}: {error}") from error
    return spec
