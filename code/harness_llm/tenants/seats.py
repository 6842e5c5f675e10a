"""What each tenant of a study is: the engines that are loaded for it, its samples, and its load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness_llm.checkpoint import Checkpoint
from harness_llm.config.harness import RunConfig
from harness_llm.config.load import load_to_run
from harness_llm.datasets.table import SampleTable
from harness_llm.driver.issuers import Schedule
from harness_llm.engines.forward_shapes import SHAPES, shape_of
from harness_llm.engines.kind import EngineKind
from harness_llm.errors import ConfigError, UsageError
from harness_llm.fleet.fleet import Fleet, FleetPlan
from harness_llm.fleet.loads import Load
from harness_llm.launch.placement import split_cores
from harness_llm.run.groups import plan_fleet
from harness_llm.run.prepare import prepare
from harness_llm.study.workloads import Batch, Workload, driver_test, make_schedule
from harness_llm.system import accelerators
from harness_llm.tenants.tenants_file import Tenant, TenantsConfig
from harness_llm.transport.spec import LoadgenTest

_FIRST_PLAIN_TOKEN = 3
_VOCABULARY = 30_000  # no listed model has fewer token ids, but a tiny one
_MODELS = ".cache/model"
_TINY = "tiny shapes"


@dataclass(frozen=True)
class Seat:
    """One tenant, ready to be loaded.

    Attributes:
        tenant: As the file has it.
        plan: Its engines.
        table: Its samples.
        workload: When it is asked; None: LoadGen asks.
        test: LoadGen's test; None without a harness file.
        marker: What must be said beside its numbers; may be empty.
        model: What it runs, for people.
        identity: What decides what is measured, by name.
        counts: Which tokens its speed is counted in: those of prompts (forward passes), or of answers.
        schedule: The requests of its workload; None: LoadGen asks.
    """

    tenant: Tenant
    plan: FleetPlan
    table: SampleTable
    workload: Workload | None
    test: LoadgenTest | None
    marker: str
    model: str
    identity: dict[str, str]
    counts: str
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """The tenant's."""
        return self.tenant.name

    def load(self, fleet: Fleet, folder: Path, samples: Path) -> Load:
        """Its part of a measurement into `folder`."""
        if self.workload is None or self.schedule is None:
            assert self.test is not None
            return Load(self.name, folder / self.name, self.test.with_samples(samples), fleet)
        path = folder / f"{self.name}.npy"
        self.schedule.save(path)
        test = driver_test(self.name, self.workload, samples, path)
        return Load(self.name, folder / self.name, test, fleet)


def seats_of(config: TenantsConfig) -> list[Seat]:
    """Every tenant, in the order of the file.

    Raises:
        UsageError: A tenant cannot be loaded, or asked, as the file says.
    """
    makers = [
        _of_model(tenant, config) if tenant.harness is None else _of_harness(tenant, tenant.harness)
        for tenant in config.seats
    ]
    seats = [
        replace(seat, schedule=_schedule(seat, config.seed + place))  # two equal ones ask at different times
        for place, (seat, _) in enumerate(makers)
    ]
    if accelerators.read().accelerators:
        return seats
    if config.cores == "shared":  # said to each, for an engine's own choice may be fewer
        cores = [sorted(os.sched_getaffinity(0))] * len(seats)
    else:
        what = f"cores: split: {len(seats)} tenants"
        cores = split_cores(len(seats), what, "Let them share: cores: shared.")
    return [
        replace(seat, plan=with_variables(seat.plan, engine.bound_to(own)))
        for seat, (_, engine), own in zip(seats, makers, cores, strict=True)
    ]


def _schedule(seat: Seat, seed: int) -> Schedule | None:
    try:
        return None if seat.workload is None else make_schedule(seat.workload, len(seat.table), seed)
    except UsageError as error:
        raise type(error)(f"{seat.name}: {error.message}", error.remedy) from error


def with_variables(plan: FleetPlan, variables: Mapping[str, str]) -> FleetPlan:
    """The same engines with more variables, below those that they have."""
    replicas = [replace(it, environment={**variables, **it.environment}) for it in plan.replicas]
    return replace(plan, replicas=tuple(replicas))


def _of_harness(tenant: Tenant, path: Path) -> tuple[Seat, EngineKind]:
    """A tenant with the engine, samples and LoadGen test of a harness YAML file; on one group of devices."""
    config = load_to_run(path)
    if config.harness_config.replicas is None and config.engine.replicas is None:
        harness = config.harness_config.model_copy(update={"replicas": 1})
        config = config.model_copy(update={"harness_config": harness})
    prepared = prepare([config], ("performance",))
    on_gpu = config.engine.takes_gpus() and accelerators.read().accelerators
    loads_beside = bool(on_gpu and config.llm_config.get("kv_cache_memory_bytes"))  # takes no memory for free
    plan = replace(prepared.groups[0].fleet, name=tenant.name, loads_beside=loads_beside)
    seat = Seat(
        tenant, plan, prepared.table, tenant.workload,
        prepared.tests[0], prepared.marker, str(config.model_path or config.engine.kind), prepared.identity,
        "answer",
    )  # fmt: skip
    return seat, config.engine


def _of_model(tenant: Tenant, config: TenantsConfig) -> tuple[Seat, EngineKind]:
    """A tenant that is one forward pass a batch: the same random prompts each time."""
    assert tenant.model_name is not None
    is_tiny = config.scale == "tiny"
    model, facts = _find(tenant.model_name, is_tiny=is_tiny)
    engine = {"kind": "forward", "model": model, "batch": tenant.batch_size, "tiny": is_tiny,
              "device": config.place, "name": tenant.name}  # fmt: skip
    run = RunConfig.model_validate(
        {
            "llm_config": {},
            "harness_config": {
                "benchmark": "tenants", "scenario": "Offline", "engine": engine, "replicas": 1,
                "dataset": {"kind": "synthetic", "shape": "1:1:2"}, "max_tokens": 2,
            },
        }
    )  # fmt: skip
    random = np.random.default_rng(config.seed)
    vocabulary = facts.get("vocab_size", _VOCABULARY)
    prompts = random.integers(_FIRST_PLAIN_TOKEN, vocabulary, (tenant.batch_size, tenant.seq_len))
    table = SampleTable.from_prompts("random", prompts.tolist(), max_tokens=1, min_tokens=1)
    workload = tenant.workload or Batch(
        size=tenant.batch_size, iterations=tenant.num_iters, warm_up=tenant.num_warmup * tenant.batch_size
    )
    marker = _TINY if is_tiny else "" if Path(model).is_dir() else run.engine.marker
    plan = replace(plan_fleet([run]), name=tenant.name, loads_beside=True)
    identity = {"engine": run.engine.model_dump_json(), "samples": table.digest}
    return Seat(
        tenant, plan, table, workload, None, marker, tenant.model_name, identity, "prompt"
    ), run.engine


def _find(name: str, *, is_tiny: bool) -> tuple[str, dict[str, Any]]:
    """A checkpoint folder, else the name of a shape with made-up weights; and what is known of its sizes.

    Raises:
        ConfigError: There is neither.
    """
    shape = shape_of(name, tiny=is_tiny)
    last = name.rpartition("/")[2]
    root = Path(os.environ.get("LAB_MODEL", _MODELS))
    for folder in () if is_tiny else (Path(name), root / last, root / last.lower()):
        if (folder / "config.json").is_file():
            return str(folder), {"vocab_size": Checkpoint(folder).vocabulary_size or _VOCABULARY}
    if shape is None:
        raise ConfigError(
            f"model_name: {name}: no checkpoint folder, and its sizes are not known",
            f"Fetch it into {root} with `harness-llm fetch`, or choose one whose weights can be made up: "
            f"{', '.join(SHAPES)}.",
        )
    return name, shape
