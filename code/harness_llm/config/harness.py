"""What a user may write in a harness YAML file, as one strict typed model.

A file has two nodes: `llm_config`, handed to the engine as it is, and `harness_config`, defined here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from harness_llm import rules
from harness_llm.checkpoint import Checkpoint
from harness_llm.config.cluster import RayCluster
from harness_llm.core import Scenario
from harness_llm.datasets.dataset_kind import DatasetKind
from harness_llm.datasets.kinds import dataset_of
from harness_llm.datasets.tokenizer import TokenizerChoice
from harness_llm.engines import DEFAULT, EngineKind, engine_of

_LAST_PORT = 65535
_MOST_REPLICAS = 4096  # of one host; a larger number is a slip of the finger
LONGEST_S = 365 * 86_400  # no run waits for longer, and no clock of the system can wait for ever
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EVERYWHERE = ("0.0.0.0", "0")  # noqa: S104 - refused


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def wrong(message: str, *keys: str | int) -> PydanticCustomError:
    """An error at a key below the model or the field that finds it; `explain` reads the keys."""
    return PydanticCustomError("at_key", "{said}", {"said": message, "keys": keys})


def _by_kind(describe: Callable[[dict[str, Any]], object], default: str = "") -> BeforeValidator:
    """A mapping becomes what its `kind` says; a name alone is the kind with the defaults of its keys."""

    def read(given: object) -> object:
        keys = {"kind": given} if isinstance(given, str) else given
        if isinstance(keys, dict) and default:
            keys = {"kind": default, **keys}
        return describe(keys) if isinstance(keys, dict) and "kind" in keys else keys

    return BeforeValidator(read)


Dataset = Annotated[SerializeAsAny[DatasetKind], _by_kind(dataset_of)]
ChosenEngine = Annotated[SerializeAsAny[EngineKind], _by_kind(engine_of, DEFAULT)]


_Tokens = Annotated[int, Field(ge=2, lt=1 << 31)]


class OwnSamples(_Strict):
    """One entry of `harness_config.tests`: the samples of a test that does not run on the benchmark's own.

    Attributes:
        dataset: The data set, as in harness_config.
        max_tokens: Output limit of a sample; None takes harness_config's.
    """

    dataset: Dataset
    max_tokens: _Tokens | None = None


class HarnessConfig(_Strict):
    """The `harness_config` node.

    Relative paths are relative to the current folder, as they are on the command line.

    Attributes:
        benchmark: An official benchmark's name (`llama2-70b-99.9`) or your own.
        scenario: `Offline`, `Server` or `Interactive`.
        engine: What generates tokens: its `kind` (harness_llm.engines.KINDS) and the keys of that kind;
            `engine: vllm` is short for `engine: {kind: vllm}`.
        dataset: The data set: its `kind` and the keys of that kind (datasets/kinds.py). In a file,
            `dataset: jsonl` with `dataset_path: my.jsonl` beside it is short for
            `dataset: {kind: jsonl, path: my.jsonl}`.
        tests: Samples of tests that do not run on this data set, by test: `accuracy`, or a compliance test.
        user_conf: LoadGen's user.conf: target_qps, durations and, for your own benchmark, latency limits.
        max_tokens: Output limit of a sample, where the data set does not set its own.
        min_tokens: Shortest answer; at least 2, because LoadGen refuses answers of one token.
        replicas: Engine instances; None means one for each group of devices that the host has.
        metric: What your own benchmark is scored by, `rouge` or `exact_match`; None takes what its
            benchmark.yaml names, else `rouge`.
        reference: JSON file with the reference accuracy of your own benchmark; None scores without a gate.
        engine_env: Environment variables for the engine's process: text; a number is taken as its text.
        engine_start_timeout_s: Longest time to load and warm up an engine, seconds.
        launcher: Where replicas are started; None for this host.
        interface: IPv4 address or name of the network interface on which processes meet over TCP, encrypted
            and with keys made for the run; None uses Unix sockets.
        port: First TCP port for control and replicas there; None takes free ones.
        silence_timeout_s: A replica or loadgen process silent for this long is lost, seconds.
        stall_timeout_s: A replica that has work and generates nothing for this long is lost, seconds, and a
            test in which nothing is asked, begun or answered for this long is ended. None derives it from
            what is in flight and how fast the replica has been (docs/replica-failures.md).
        on_replica_failure: What the loss of a replica means: `fail` ends the run; with `redispatch` its
            unfinished samples go to the other replicas. None: `redispatch` in accuracy tests, else `fail`.
        early_end: End a run as soon as it cannot be VALID any more, e.g. because more samples are over a
            latency limit than early stopping lets pass; `--no-early-end` sets it to false.
        measured_rate: Server and Interactive of your own benchmark: ask at this share of the rate that the
            engine holds, measured right before, instead of user.conf's target_qps, and at less where that was
            too much; None asks at user.conf's.
        offline_backlog: Samples queued at one replica beyond those it works on (Offline); None means as
            many again as it works on at once.
    """

    benchmark: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    scenario: Scenario
    dataset: Dataset
    tests: dict[str, OwnSamples] = Field(default_factory=dict)
    user_conf: Path = Path("user.conf")
    max_tokens: _Tokens
    min_tokens: _Tokens = 2
    engine: ChosenEngine = engine_of({"kind": DEFAULT})
    replicas: Annotated[int, Field(ge=1, le=_MOST_REPLICAS)] | None = None
    metric: str | None = None
    reference: Path | None = None
    engine_env: dict[str, str] = Field(default_factory=dict)
    engine_start_timeout_s: Annotated[float, Field(ge=1, le=LONGEST_S)] = 1800.0
    launcher: RayCluster | None = None
    interface: str | None = None
    port: Annotated[int, Field(ge=1024, le=_LAST_PORT)] | None = None
    silence_timeout_s: Annotated[float, Field(ge=2, le=LONGEST_S)] = 8.0
    stall_timeout_s: Annotated[float, Field(ge=2, le=LONGEST_S)] | None = None
    on_replica_failure: Literal["fail", "redispatch"] | None = None
    early_end: bool = True
    measured_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    offline_backlog: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise wrong(f"{self.min_tokens} is above max_tokens {self.max_tokens}", "min_tokens")
        for name, test in self.tests.items():
            if test.max_tokens is not None and self.min_tokens > test.max_tokens:
                raise wrong(
                    f"{test.max_tokens} is below min_tokens {self.min_tokens}",
                    *("tests", name, "max_tokens"),
                )
        if self.launcher is not None and self.interface is None:
            raise wrong(
                "the other hosts must reach this one: add interface: and its address in their network",
                "launcher",
            )
        if self.launcher is not None and self.replicas is None and self.engine.replicas is None:
            raise wrong("a cluster has no number of its own: add replicas:, how many to start", "launcher")
        if self.port is not None and self.interface is None:
            raise wrong(
                "TCP needs the interface to listen on: add e.g. interface: 127.0.0.1, or remove port", "port"
            )
        if self.port is not None and self.port + (self.replicas or 1) > _LAST_PORT:
            raise wrong(
                f"{self.port} leaves no port for every replica: control takes it, each replica one above",
                "port",
            )
        if self.measured_rate is not None and self.scenario is Scenario.OFFLINE:
            raise wrong("does nothing in Offline, which asks everything at once; remove it", "measured_rate")
        if self.offline_backlog is not None and self.scenario is not Scenario.OFFLINE:
            raise wrong(
                f"does nothing in scenario {self.scenario}, only in Offline; remove it", "offline_backlog"
            )
        return self

    @field_validator("interface")
    @classmethod
    def _is_one_interface(cls, given: str | None) -> str | None:
        """Refuse what listens everywhere, and what is neither an IPv4 address nor a name."""
        if given is not None and (given in _EVERYWHERE or not _INTERFACE.fullmatch(given)):
            raise ValueError(
                f"{given!r} is not one interface; write its IPv4 address, e.g. 127.0.0.1, or its name"
            )
        return given

    @field_validator("engine_env", mode="before")
    @classmethod
    def _takes_numbers_as_text(cls, variables: object) -> object:
        """`X: 2048` is plain; `X: true` is not, as a program may look for true, True or 1."""
        if not isinstance(variables, dict):
            return variables
        for name, value in variables.items():
            if isinstance(value, bool):
                words = ("1", "true", "on") if value else ("0", "false", "off")
                forms = ", ".join(f'{name}: "{word}"' for word in words)
                raise wrong(
                    f"{str(value).lower()}, and a variable holds text: write what the engine reads, in "
                    f"quotes, e.g. one of {forms}",
                    name,
                )
        return {
            name: str(value) if isinstance(value, int | float) else value for name, value in variables.items()
        }

    @field_validator("engine_env")
    @classmethod
    def _has_names(cls, variables: dict[str, str]) -> dict[str, str]:
        """Refuse a name that no variable can have."""
        for name in variables:
            if not name or "=" in name:
                raise wrong("is not the name of a variable: it is empty or holds =", name)
        return variables

    @field_validator("tests")
    @classmethod
    def _names_known_tests(cls, tests: dict[str, OwnSamples]) -> dict[str, OwnSamples]:
        known = ("accuracy", *rules.table().tests)
        for name in tests:
            if name not in known:
                raise wrong(f"no test {name!r} has samples of its own; known: {', '.join(known)}", name)
        return tests


class RunConfig(_Strict):
    """One harness YAML file: how one scenario of one benchmark is run.

    Attributes:
        llm_config: Engine arguments, as the engine names them; `model` is the checkpoint folder.
        harness_config: Everything else.
    """

    llm_config: dict[str, Any]
    harness_config: HarnessConfig

    @field_validator("llm_config")
    @classmethod
    def _is_plain(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Refuse what JSON has no form for: it would reach engine and run folder as something else."""
        _check_plain(arguments)
        return arguments

    @property
    def model_path(self) -> Path | None:
        """Checkpoint folder, or None where none is given, which not every engine needs."""
        model = self.llm_config.get("model")
        return None if model is None else Path(str(model))

    @property
    def tokenizer_choice(self) -> TokenizerChoice | None:
        """The tokenizer that llm_config asks for, or None where no model is given."""
        folder = self.model_path
        return None if folder is None else TokenizerChoice.of(folder, self.llm_config)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What lies in that folder, or None where there is none to ask."""
        if self.model_path is None:
            return None
        return Checkpoint(self.model_path, str(self.llm_config.get("generation_config") or "auto"))

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer: the engine's own, else those of the checkpoint; empty if nobody says."""
        if self.engine.end_tokens is not None:
            return self.engine.end_tokens
        return frozenset() if self.checkpoint is None else self.checkpoint.end_tokens

    @property
    def engine(self) -> EngineKind:
        """The engine that is asked for, with its own options."""
        return self.harness_config.engine

    @property
    def engine_key(self) -> tuple[object, ...]:
        """What must be equal for two tests to share loaded replicas."""
        harness = self.harness_config
        return (
            harness.engine.model_dump_json(),
            repr(sorted(self.llm_config.items(), key=lambda pair: pair[0])),
            harness.replicas,
            tuple(sorted(harness.engine_env.items())),
        )


def _check_plain(value: object, *keys: str | int) -> None:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(part, *keys, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong(f"{value} is not a finite number", *keys)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise wrong(f"a {type(value).__name__}; write it in quotes to give it as text", *keys)
