"""What a user may write in a harness YAML file, as one strict typed model.

A file has two nodes: `llm_config`, handed to the engine as it is, and `harness_config`, defined here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from harness_llm import rules
from harness_llm.checkpoint import Checkpoint
from harness_llm.core import Scenario
from harness_llm.datasets import DatasetKind
from harness_llm.engines import DEFAULT, EngineKind, engine_kind
from harness_llm.engines.simulated import Simulated

__all__ = ["HarnessConfig", "RunConfig", "TestDataset"]

_LAST_PORT = 65535


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TestDataset(_Strict):
    """One entry of `harness_config.tests`: the samples of a test that does not run on the benchmark's own.

    Attributes:
        dataset: Kind of data set.
        dataset_path: File or folder of the data set; not used by `synthetic`.
        dataset_shape: `count:input:output` in tokens, for `synthetic` only.
        max_tokens: Output limit of a sample; None takes harness_config's.
    """

    __test__ = False  # no pytest class

    dataset: DatasetKind
    dataset_path: Path | None = None
    dataset_shape: str | None = None
    max_tokens: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _check_source(self.dataset, self.dataset_path, self.dataset_shape)
        return self


def _check_source(dataset: DatasetKind, path: Path | None, shape: str | None) -> None:
    """Whether a kind of data set has what it needs and nothing else.

    Raises:
        ValueError: It has not.
    """
    if dataset == "synthetic":
        if shape is None:
            raise ValueError("dataset synthetic needs dataset_shape, e.g. dataset_shape: 1000:128:64")
        if path is not None:
            raise ValueError("dataset synthetic takes dataset_shape, not dataset_path")
    elif path is None:
        raise ValueError(f"dataset {dataset} needs dataset_path")
    elif shape is not None:
        raise ValueError(f"dataset_shape is for dataset synthetic, not {dataset}")


class HarnessConfig(_Strict):
    """The `harness_config` node.

    Relative paths are relative to the current folder, as they are on the command line.

    Attributes:
        benchmark: An official benchmark's name (`llama2-70b-99.9`) or your own.
        scenario: `Offline`, `Server` or `Interactive`.
        engine: What generates tokens: `vllm`, or `simulated` (for tests; never a result).
        dataset: Kind of data set.
        dataset_path: File or folder of the data set; not used by `synthetic`.
        dataset_shape: `count:input:output` in tokens, for `synthetic` only.
        dataset_samples: Use only the first so many samples; None uses all. Not for a result.
        dataset_seed: Seed of what `synthetic` draws at random.
        tests: Samples of tests that do not run on this data set, by test: `accuracy`, or a compliance test.
        chat_template: Wrap plain prompts in the model's chat template (`jsonl` only).
        user_conf: LoadGen's user.conf: target_qps, durations and, for your own benchmark, latency limits.
        max_tokens: Output limit of a sample, where the data set does not set its own.
        min_tokens: Shortest answer; at least 2, because LoadGen refuses answers of one token.
        replicas: Engine instances; None means one for each group of devices that the host has.
        devices_per_replica: GPUs of one replica; None means tensor x pipeline parallel size.
        metric: What your own benchmark is scored by, `rouge` or `exact_match`; None takes what its
            benchmark.yaml names, else `rouge`.
        reference: JSON file with the reference accuracy of your own benchmark; None scores without a gate.
        engine_env: Environment variables for the engine's process: text; a number is taken as its text.
        engine_start_timeout_s: Longest time to load and warm up an engine, seconds.
        port: First TCP port for control and replicas, on 127.0.0.1; None uses Unix sockets.
        silence_timeout_s: A replica or loadgen process silent for this long is lost, seconds.
        stall_timeout_s: A test in which nothing is asked, begun or answered for this long is ended, seconds;
            above the time of the longest answer.
        offline_backlog: Samples queued at one replica beyond those it works on (Offline); None means as
            many again as it works on at once.
        simulated: Latencies of the simulated engine.
    """

    benchmark: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    scenario: Scenario
    dataset: DatasetKind
    dataset_path: Path | None = None
    dataset_shape: str | None = None
    dataset_samples: PositiveInt | None = None
    dataset_seed: Annotated[int, Field(ge=0)] = 0
    tests: dict[str, TestDataset] = Field(default_factory=dict)
    chat_template: bool = True
    user_conf: Path = Path("user.conf")
    max_tokens: Annotated[int, Field(ge=2)]
    min_tokens: Annotated[int, Field(ge=2)] = 2
    engine: str = DEFAULT
    replicas: PositiveInt | None = None
    devices_per_replica: PositiveInt | None = None
    metric: str | None = None
    reference: Path | None = None
    engine_env: dict[str, str] = Field(default_factory=dict)
    engine_start_timeout_s: PositiveFloat = 1800.0
    port: Annotated[int, Field(ge=1024, le=_LAST_PORT)] | None = None
    silence_timeout_s: Annotated[float, Field(ge=2)] = 8.0
    stall_timeout_s: Annotated[float, Field(ge=2)] = 1800.0
    offline_backlog: PositiveInt | None = None
    simulated: Simulated = Simulated()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}")
        for name, test in self.tests.items():
            if test.max_tokens is not None and self.min_tokens > test.max_tokens:
                raise ValueError(
                    f"min_tokens {self.min_tokens} is above max_tokens {test.max_tokens} of test {name}"
                )
        if self.port is not None and self.port + (self.replicas or 1) > _LAST_PORT:
            raise ValueError(
                f"port {self.port} leaves no port for every replica: control takes it, each replica one above"
            )
        _check_source(self.dataset, self.dataset_path, self.dataset_shape)
        return self

    @field_validator("engine")
    @classmethod
    def _is_a_kind_of_engine(cls, name: str) -> str:
        engine_kind(name)
        return name

    @field_validator("engine_env", mode="before")
    @classmethod
    def _takes_numbers_as_text(cls, variables: object) -> object:
        """`X: 2048` is plain; `X: true` is not, as a program may look for true, True or 1."""
        if not isinstance(variables, dict):
            return variables
        for name, value in variables.items():
            if isinstance(value, bool):
                text = str(value).lower()
                raise ValueError(
                    f"{name} is {text}, and a variable holds text: write what the engine reads in quotes, "
                    f'{name}: "{int(value)}" or {name}: "{text}" '
                    f"(--set 'harness_config.engine_env.{name}=\"{int(value)}\"')"
                )
        return {
            name: str(value) if isinstance(value, int | float) else value for name, value in variables.items()
        }

    @field_validator("tests")
    @classmethod
    def _names_known_tests(cls, tests: dict[str, TestDataset]) -> dict[str, TestDataset]:
        known = ("accuracy", *rules.table().tests)
        for name in tests:
            if name not in known:
                raise ValueError(f"no test {name!r} has samples of its own; known: {', '.join(known)}")
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
        for name, value in arguments.items():
            _check_plain(name, value)
        return arguments

    @property
    def model_path(self) -> Path | None:
        """Checkpoint folder, or None where none is given, which not every engine needs."""
        model = self.llm_config.get("model")
        return None if model is None else Path(str(model))

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What lies in that folder, or None where there is none to ask."""
        return None if self.model_path is None else Checkpoint(self.model_path)

    @property
    def engine(self) -> EngineKind:
        """The engine that is asked for, with its own options."""
        harness = self.harness_config
        options = getattr(harness, harness.engine, None)
        return options or engine_kind(harness.engine)(kind=harness.engine)

    @property
    def engine_key(self) -> tuple[object, ...]:
        """What must be equal for two tests to share loaded replicas."""
        harness = self.harness_config
        return (
            harness.engine,
            repr(sorted(self.llm_config.items(), key=lambda pair: pair[0])),
            harness.replicas,
            harness.devices_per_replica,
            tuple(sorted(harness.engine_env.items())),
            harness.simulated,
        )


def _check_plain(key: str, value: object) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _check_plain(f"{key}.{name}", part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_plain(f"{key}[{index}]", part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is {value}, no finite number")
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise ValueError(f"{key} is a {type(value).__name__}; write it in quotes to give it as text")
