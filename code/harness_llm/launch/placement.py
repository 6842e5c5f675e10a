"""Who starts the replicas, and which devices each gets, as environment variables of its process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from harness_llm.config.harness import RunConfig
from harness_llm.core import counted
from harness_llm.engines import EngineKind
from harness_llm.engines.base import SOCKETS_VARIABLE
from harness_llm.errors import ConfigError
from harness_llm.launch.launcher import Launcher
from harness_llm.launch.local import LocalLauncher
from harness_llm.launch.ray_cluster import ray_launcher, require_ray
from harness_llm.launch.role import Role
from harness_llm.system import accelerators
from harness_llm.transport.control import HOST_VARIABLE, PARENT_VARIABLE
from harness_llm.transport.spec import SECRETS_VARIABLE

_OWN = (SOCKETS_VARIABLE, HOST_VARIABLE, PARENT_VARIABLE, SECRETS_VARIABLE)
VISIBLE = {"NVIDIA": "CUDA_VISIBLE_DEVICES", "AMD": "HIP_VISIBLE_DEVICES"}
_UUIDS = ("GPU-", "MIG-")
_DEFAULTS = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
_ON_A_CPU = {"OMP_WAIT_POLICY": "PASSIVE"}
"""A thread that waits by spinning takes the core from the one that it waits for where other work runs beside
(figures: docs/decisions/0018-the-first-hour.md)."""


@contextmanager
def launcher_of(configs: Sequence[RunConfig], role: Role) -> Iterator[Launcher]:
    """What starts the children of a run: on this host, or those of `role` on the cluster that is asked for.

    Raises:
        ConfigError: What the cluster is joined by is not installed.
        HostError: There is no such cluster, or none of its hosts has room for a replica.
    """
    cluster = configs[0].harness_config.launcher
    if cluster is None:
        yield LocalLauncher()
        return
    gpus = cluster.gpus
    if gpus is None:
        gpus = max(_devices(config) if config.engine.takes_gpus() else 0 for config in configs)
    with ray_launcher(cluster.address, role.kind, {"CPU": cluster.cpus, "GPU": gpus}) as launcher:
        yield launcher


def _devices(config: RunConfig) -> int:
    """Devices of one replica.

    Raises:
        ConfigError: The options name fewer than `llm_config` spans.
    """
    asked, spanned = config.engine.devices_asked, config.engine.devices(config.llm_config)
    if asked is not None and asked < spanned:
        raise _too_few("harness_config.engine", asked, spanned)
    return asked or spanned


def _too_few(key: str, given: int, needed: int) -> ConfigError:
    return ConfigError(
        f"{key} gives a replica {given} devices, its engine needs {needed} by llm_config's parallel sizes",
        "Remove it, or lower those.",
    )


def replica_environments(config: RunConfig) -> list[dict[str, str]]:
    """One set of environment variables for each replica to start.

    Raises:
        ConfigError: Ray is needed and not installed; more devices are asked for than there are, or than the
            engine can do with; engine_env holds a variable that is not the user's to set.
    """
    harness, engine = config.harness_config, config.engine
    common = {**_DEFAULTS, **engine.environment, **harness.engine_env}
    if None not in (engine.replicas, harness.replicas) and engine.replicas != harness.replicas:
        raise ConfigError(
            f"harness_config.replicas is {harness.replicas}, harness_config.engine names {engine.replicas}",
            "Remove replicas.",
        )
    replicas, sharing = engine.replicas or harness.replicas, engine.replicas_a_device
    if sharing > 1 and harness.launcher is not None:
        raise ConfigError(
            "harness_config.engine.replicas_per_device: on a cluster, Ray assigns the devices",
            "Remove it.",
        )
    _refuse(harness.engine_env, _OWN, "Remove it.")
    if harness.launcher is not None:  # a cluster gives out its devices itself
        require_ray()
        if engine.takes_gpus():
            _refuse(harness.engine_env, VISIBLE.values(), "Remove it; the shell of `ray start` can set it.")
            gpus, size = harness.launcher.gpus, _devices(config)
            if gpus and gpus < size:
                raise _too_few("harness_config.launcher.gpus", gpus, size)
    if not engine.needs_devices or harness.launcher is not None:
        return [dict(common) for _ in range(replicas or 1)]
    found = accelerators.read().accelerators if engine.takes_gpus() else ()
    if not found:
        asked = f"1/{sharing} of a device" if sharing > 1 else ""
        if engine.devices_asked:
            asked = counted(engine.devices_asked, "device")
        if asked:
            raise ConfigError(
                f"harness_config.engine asks for {asked} per replica, this host has no GPU",
                "Remove it, or make the GPUs visible.",
            )
        return [{**_ON_A_CPU, **bound, **common} for bound in _bind_to_cores(engine, replicas or 1)]
    _refuse(harness.engine_env, VISIBLE.values(), "Set it in the shell, for all replicas.")
    engine.check_host(config.llm_config, {**os.environ, **common})
    variable = VISIBLE[found[0].vendor]
    devices = _visible_devices(os.environ, variable, len(found))
    devices = [device for device in devices for _ in range(sharing)]
    size = _devices(config)
    return [{**common, variable: ",".join(group)} for group in split_devices(devices, size, replicas)]


def _refuse(given: Mapping[str, str], names: Iterable[str], remedy: str) -> None:
    for name in names:
        if name in given:
            raise ConfigError(
                f"harness_config.engine_env.{name}: each replica has its own, which the harness sets", remedy
            )


def split_devices(devices: list[str], size: int, replicas: int | None) -> list[list[str]]:
    """Consecutive groups of `size` devices; as many as asked for, or as many as there are.

    Raises:
        ConfigError: There are too few devices.
    """
    groups = [devices[start : start + size] for start in range(0, len(devices) - size + 1, size)]
    wanted = len(groups) if replicas is None else replicas
    if not 0 < wanted <= len(groups):
        each, wanted = counted(size, "device"), wanted or 1
        raise ConfigError(
            f"{counted(wanted, f'replica of {each} needs', f'replicas of {each} need')} {wanted * size:,}, "
            f"this host shows {len(devices)}: {', '.join(devices) or 'none'}",
            "Lower harness_config.replicas or the devices of one, or make more devices visible.",
        )
    return groups[:wanted]


def _visible_devices(environment: Mapping[str, str], variable: str, count: int) -> list[str]:
    """Devices that a process may use, of `count`: numbers, or how a UUID begins.

    Raises:
        ConfigError: The variable names one that is not there, or one twice.
    """
    known = [str(index) for index in range(count)]
    chosen = environment.get(variable)
    if chosen is None:
        return known
    devices = [device.strip() for device in chosen.split(",") if device.strip()]
    for place, device in enumerate(devices):
        if device not in known and not device.startswith(_UUIDS):
            raise ConfigError(
                f"{variable} is {chosen!r}: this host has no device {device}",
                f"Name devices that it has ({', '.join(known)}), or their UUIDs.",
            )
        if device in devices[:place]:
            raise ConfigError(
                f"{variable} is {chosen!r}: device {device} is listed twice",
                "Name it once; harness_config.engine.replicas_per_device lets replicas share a device.",
            )
    return devices


def _bind_to_cores(engine: EngineKind, replicas: int) -> list[dict[str, str]]:
    """Without GPUs: replicas beside one another on their own cores; one replica keeps the engine's choice."""
    if replicas == 1:
        return [{}]
    what = f"harness_config.replicas: {replicas} replicas"
    return [engine.bound_to(cores) for cores in split_cores(replicas, what, "One replica needs one core.")]


def split_cores(parties: int, what: str, remedy: str) -> list[list[int]]:
    """The cores that this process may use, in consecutive groups of one size, one for each party.

    Args:
        parties: How many.
        what: Who they are, for people, with their number.
        remedy: What helps where there are too few cores.

    Raises:
        ConfigError: There are fewer cores than parties.
    """
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // parties
    if not share:
        raise ConfigError(f"{what} on {counted(len(cores), 'core')}", remedy)
    return [cores[place * share : (place + 1) * share] for place in range(parties)]
