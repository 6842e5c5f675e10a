"""What the harness must know of an engine before one is started.

A new kind of engine is one file beside this one, with a subclass of `EngineKind`, and one row in
`harness_llm.engines.KINDS`; docs/adding-an-engine.md has an example.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from harness_llm.checkpoint import Checkpoint
from harness_llm.engines.vllm_memory import MemoryNeed
from harness_llm.errors import ConfigError
from harness_llm.rules import Decoding


@dataclass(frozen=True)
class Weights:
    """What a submission says of the weights.

    Attributes:
        data_type: In the spelling of published results, such as `fp8` or `bf16`.
        quantization: By what they were quantized; empty where they were not.
    """

    data_type: str
    quantization: str = ""


class EngineKind(BaseModel):
    """What a user writes as `harness_config.engine`, and what follows from it.

    Fields are the options that belong to this engine only; `arguments`, in every method, are those of
    `llm_config`. A kind overrides what is not so for it; importing its module must not import the engine.

    Attributes:
        kind: Its name, as users write it and as run folders have it.
        engine_class: Its Engine; made, in the replica's process, of what `replica_arguments` gave.
        needs_checkpoint: llm_config.model must be a checkpoint folder.
        needs_devices: A replica takes GPUs, or cores of its own, of this host.
        takes_arguments: llm_config says more to it than `model`.
        knows_reuse: It is known what it takes over from one sample to another, such as prefix caching.
        is_simulated: Answers are made up; marks every number that follows.
        marker: What else must be said beside every number, a colon behind its short form, where `marker_of`
            says so; mostly nothing.
        one_each: Option that lists a value for each replica, such as its server; empty where none does.
        secrets: Options that name an environment variable with a secret, which is written to no file.
        devices_from: Keys of llm_config whose product is the number of devices that one replica takes.
        length_from: Key of llm_config with the longest prompt plus answer, tokens; empty where it has none.
        packages: Distributions of which a run records the version, where they are installed.
        environment: Variables for a replica's process, below those that the user sets.
        trial: Module that, given `llm_config` as JSON on stdin, prints what the engine's own classes say of
            it, as `run.trial` reads it; it may import the engine. Empty where there is none.
        end_tokens: Tokens that end its answers; None where they are the checkpoint's.
        slow_lines: Expression for lines of a replica's log that report work which slows a test, such as
            compilation; empty where no line does.
        resolved_keys: Dotted keys of its facts' `resolved` that decide what is measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    engine_class: ClassVar[type[Any]]
    needs_checkpoint: ClassVar[bool] = True
    needs_devices: ClassVar[bool] = True
    takes_arguments: ClassVar[bool] = True
    knows_reuse: ClassVar[bool] = True
    is_simulated: ClassVar[bool] = False
    marker: ClassVar[str] = ""
    one_each: ClassVar[str] = ""
    secrets: ClassVar[tuple[str, ...]] = ()
    devices_from: ClassVar[tuple[str, ...]] = ()
    length_from: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    environment: ClassVar[Mapping[str, str]] = {}
    trial: ClassVar[str] = ""
    end_tokens: ClassVar[frozenset[int] | None] = None
    slow_lines: ClassVar[str] = ""
    resolved_keys: ClassVar[tuple[str, ...]] = ()

    kind: str

    @classmethod
    def takes_gpus(cls) -> bool:
        """Whether a replica takes GPUs where the host has some."""
        return cls.needs_devices

    @classmethod
    def framework(cls, facts: Mapping[str, Any], packages: Mapping[str, str]) -> str:
        """Name and version of what runs the model, for a system description; empty where nobody knows.

        Args:
            facts: What the engine of a run said of itself (EngineFacts as JSON); empty where there is none.
            packages: Versions of the packages that were installed.
        """
        del packages
        return " ".join(str(facts[key]) for key in ("name", "version") if key in facts)

    @classmethod
    def weights(cls, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> Weights:
        """The weights of a run that has ended, by its llm_config and by what its engine said of itself."""
        del arguments, facts
        return Weights("not stated")

    @classmethod
    def marker_of(cls, arguments: Mapping[str, Any]) -> str:
        """What must be said beside every number of a run with these arguments; mostly `marker`."""
        del arguments
        return cls.marker

    @classmethod
    def identity(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What an engine said of itself that must be equal for two tests to be of one run.

        Not all that it said: an engine also tells of free memory, ports and the names of caches.
        """
        names = ("name", "version", "max_sequence_tokens", "max_concurrent")
        return {
            **{name: facts.get(name) for name in names},
            **{key: _below(facts.get("resolved"), key.split(".")) for key in cls.resolved_keys},
        }

    @classmethod
    def decoding(
        cls, arguments: Mapping[str, Any], facts: Mapping[str, Any], checkpoint: Checkpoint | None = None
    ) -> Decoding:
        """How it makes answers, which the rules of official benchmarks bound.

        Args:
            arguments: `llm_config`.
            facts: What the engine of a run said of itself (EngineFacts as JSON); empty before a run.
            checkpoint: The model's folder; None where it is not at hand.
        """
        del arguments, facts, checkpoint
        name = str(cls.model_fields["kind"].default)
        return Decoding(engine=name, can_choose=False, reuses={} if cls.knows_reuse else None)

    def preflight(self, arguments: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Refuse, within milliseconds, what the engine would refuse after a start of minutes.

        Args:
            arguments: `llm_config`.
            place: Where a dotted key such as `llm_config.dtype` is written, for the error.

        Raises:
            ConfigError: The engine is not installed, or cannot work with its options or arguments.
        """
        for option in self.secrets:
            variable = getattr(self, option)
            if variable is not None and not os.environ.get(variable):
                key = f"harness_config.engine.{option}"
                raise ConfigError(f"{place(key)}: {key} names the variable {variable}, which is not set")

    def check_environment(self, variables: Mapping[str, str], place: Callable[[str], str]) -> None:
        """Refuse variables that the engine would pass over without a word.

        Args:
            variables: `harness_config.engine_env`.
            place: As in `preflight`.

        Raises:
            ConfigError: One is not known.
        """
        del variables, place

    def check_host(self, arguments: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        """Refuse what this host, whose GPUs the engine is to have, lacks; replicas elsewhere are not asked.

        Args:
            arguments: `llm_config`.
            variables: The environment of a replica's process.

        Raises:
            ConfigError: It lacks something that an engine with these arguments needs to start.
        """
        del arguments, variables

    def notes(self, arguments: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterable[str]:
        """What people should know of a run with these arguments on this model, a sentence each."""
        del arguments, checkpoint
        return ()

    def replica_arguments(self, arguments: Mapping[str, Any], replica: int) -> dict[str, Any]:
        """What the engine of one replica is made from, JSON-able: `llm_config`, else the options.

        Of the list in the option `one_each`, a replica gets the value that is its own.
        """
        if self.takes_arguments:
            return dict(arguments)
        own = {self.one_each: [getattr(self, self.one_each)[replica]]} if self.one_each else {}
        return {**self.model_dump(exclude={"kind"}), **own}

    @property
    def replicas(self) -> int | None:
        """Replicas that the option `one_each` names one by one; None where there is no such option."""
        return len(getattr(self, self.one_each)) if self.one_each else None

    @property
    def devices_asked(self) -> int | None:
        """Devices of one replica that the options name; None where `llm_config` decides it."""
        return None

    @property
    def replicas_a_device(self) -> int:
        """Replicas that share one GPU."""
        return 1

    def devices(self, arguments: Mapping[str, Any]) -> int:
        """Devices that one replica takes."""
        return math.prod(int(arguments.get(name) or 1) for name in self.devices_from)

    def bound_to(self, cores: Sequence[int]) -> dict[str, str]:
        """Variables that keep a replica's process on its cores, on a host without GPUs."""
        del cores
        return {}

    def needs_weights(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the checkpoint's weights must be there, too."""
        del arguments
        return self.needs_checkpoint

    def needs_tokenizer(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the checkpoint must have a tokenizer for the engine to start."""
        del arguments
        return False

    def memory_need(
        self, arguments: Mapping[str, Any], checkpoint: Checkpoint, cpu: Mapping[str, str] | None
    ) -> MemoryNeed | None:
        """What one device of a replica must hold; None where that is not known.

        Args:
            arguments: The engine's own.
            checkpoint: Its model.
            cpu: The variables of the engine's process where its device is a CPU; None where it is none.
        """
        del arguments, checkpoint, cpu
        return None

    def max_sequence_tokens(self, arguments: Mapping[str, Any], checkpoint: Checkpoint | None) -> int | None:
        """Longest prompt plus answer, tokens; None where it is not known before the engine has started."""
        if not self.needs_checkpoint:
            return None
        asked = arguments.get(self.length_from)
        if isinstance(asked, int) and asked > 0:  # else the engine decides
            return asked
        return None if checkpoint is None else checkpoint.max_positions


def variable_at(name: str, given: Collection[str], place: Callable[[str], str]) -> str:
    """Where a variable of the engine's process is set, for an error: in engine_env, or outside of the files.

    Args:
        name: The variable.
        given: Those of `harness_config.engine_env`.
        place: As in `EngineKind.preflight`.
    """
    key = f"harness_config.engine_env.{name}"
    return f"{place(key)}: {key}" if name in given else f"{name}, exported in the shell"


def _below(document: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
