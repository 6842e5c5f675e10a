"""What a user may write in a harness YAML file, as one strict typed model.

A file has two nodes: `llm_config`, handed to the engine as it is, and `harness_config`, defined here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from harness_llm.core import GenerationLimits, Scenario

__all__ = ["DatasetKind", "EngineName", "HarnessConfig", "RunConfig", "SimulatedLatency"]

EngineName = Literal["vllm", "simulated"]
DatasetKind = Literal["humaneval", "jsonl", "openorca", "synthetic"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SimulatedLatency(_Strict):
    """How long the simulated engine takes; all zero means that answers are instant.

    Attributes:
        first_token_ms: Time from a request's start to its first token, milliseconds.
        per_token_ms: Time for each further token, milliseconds.
        concurrent: Requests worked on at once; more wait in the engine's queue.
        fail_every: Fail each n-th request (for tests of failure handling); None never fails.
    """

    first_token_ms: Annotated[float, Field(ge=0)] = 0.0
    per_token_ms: Annotated[float, Field(ge=0)] = 0.0
    concurrent: PositiveInt = 1024
    fail_every: PositiveInt | None = None


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
        chat_template: Wrap plain prompts in the model's chat template (`jsonl` only).
        user_conf: LoadGen's user.conf: target_qps, durations and, for your own benchmark, latency limits.
        max_tokens: Output limit of a sample, where the data set does not set its own.
        min_tokens: Shortest answer; at least 2, because LoadGen refuses answers of one token.
        replicas: Engine instances; None means one for each group of devices that the host has.
        devices_per_replica: GPUs of one replica; None means tensor x pipeline parallel size.
        reference: JSON file with the reference accuracy of your own benchmark; None scores without a gate.
        engine_env: Environment variables for the engine's process.
        engine_start_timeout_s: Longest time to load and warm up an engine, seconds.
        port: First TCP port for control and replicas, on 127.0.0.1; None uses Unix sockets.
        silence_timeout_s: A replica or loadgen process silent for this long is lost, seconds.
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
    chat_template: bool = True
    user_conf: Path = Path("user.conf")
    max_tokens: Annotated[int, Field(ge=2)]
    min_tokens: Annotated[int, Field(ge=2)] = 2
    engine: EngineName = "vllm"
    replicas: PositiveInt | None = None
    devices_per_replica: PositiveInt | None = None
    reference: Path | None = None
    engine_env: dict[str, str] = Field(default_factory=dict)
    engine_start_timeout_s: PositiveFloat = 1800.0
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    silence_timeout_s: Annotated[float, Field(ge=2)] = 8.0
    offline_backlog: PositiveInt | None = None
    simulated: SimulatedLatency = SimulatedLatency()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}")
        if self.dataset == "synthetic":
            if self.dataset_shape is None:
                raise ValueError("dataset synthetic needs dataset_shape, e.g. dataset_shape: 1000:128:64")
            if self.dataset_path is not None:
                raise ValueError("dataset synthetic takes dataset_shape, not dataset_path")
        elif self.dataset_path is None:
            raise ValueError(f"dataset {self.dataset} needs dataset_path")
        elif self.dataset_shape is not None:
            raise ValueError(f"dataset_shape is for dataset synthetic, not {self.dataset}")
        return self

    @property
    def limits(self) -> GenerationLimits:
        """Output limits of a sample whose data set does not set its own."""
        return GenerationLimits(min_tokens=self.min_tokens, max_tokens=self.max_tokens)


class RunConfig(_Strict):
    """One harness YAML file: how one scenario of one benchmark is run.

    Attributes:
        llm_config: Engine arguments, as the engine names them; `model` is the checkpoint folder.
        harness_config: Everything else.
    """

    llm_config: dict[str, Any]
    harness_config: HarnessConfig

    @property
    def model_path(self) -> Path | None:
        """Checkpoint folder, or None where the engine needs none (`simulated`)."""
        model = self.llm_config.get("model")
        return None if model is None else Path(str(model))

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
