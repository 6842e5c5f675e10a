"""Makes the records of live.jsonl from what the supervisor knows, and says what slows a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import psutil

from harness_llm.fleet.measurement import Measurement
from harness_llm.launch.child import Child, Loss
from harness_llm.launch.placement import VISIBLE
from harness_llm.results.live_records import (
    DeviceState,
    HostState,
    LiveRecord,
    LiveWarning,
    ReplicaState,
    WarningKind,
)
from harness_llm.system.others import Others

if TYPE_CHECKING:  # a watch has a recorder, and fleets
    from harness_llm.fleet.fleet import Fleet

_INTERVAL_S = 1.0
_PAUSE_S = 3.0
"""From when on a replica that has work and generates nothing is worth a warning."""


class LiveRecorder:
    """Makes a record a second."""

    def __init__(self) -> None:
        self._sampler: Child | None = None
        self._began_s = time.monotonic()
        self._made_s, self._stage = 0.0, ""
        self._episodes = _Episodes()
        self._losses: list[LiveWarning] = []

    def is_due(self, stage: str) -> bool:
        """Whether the last record is a second old, or of another stage."""
        return stage != self._stage or time.monotonic() - self._made_s >= _INTERVAL_S

    def sampled_by(self, child: Child) -> None:
        """Take what this child says of the accelerators from now on, while it lives."""
        self._sampler = child

    def lost(self, losses: Iterable[Loss]) -> None:
        """Children were lost, and the run continues."""
        now = time.monotonic()
        for loss in losses:
            text = f"{loss.name}: lost: {loss.reason.partition(chr(10))[0]}"
            self._losses.append(LiveWarning(kind="loss", at_s=now, text=text))

    def record(self, stage: str, running: Sequence[Measurement], fleets: Sequence[Fleet]) -> LiveRecord:
        """How it goes now.

        Args:
            stage: What happens now.
            running: The tests that run, or ended since the last record.
            fleets: The fleets, of which some may be loaded.
        """
        now = self._made_s = time.monotonic()
        self._stage = stage
        devices = _devices(self._sampler)
        others = next((it.progress.others for it in running if it.progress.others is not None), None)
        replicas = tuple(
            _replica(fleet, number, child) for fleet in fleets for number, child in enumerate(fleet.replicas)
        )
        warnings = [*self._losses, *self._episodes.look(now, _slowing(replicas, others, devices))]
        self._losses.clear()
        return LiveRecord(
            at_s=now,
            began_at_s=self._began_s,
            stage=stage,
            tests=tuple(measurement.progress.record() for measurement in running),
            replicas=replicas,
            host=_host(running, others),
            devices=devices,
            warnings=tuple(warnings),
        )


def _replica(fleet: Fleet, number: int, child: Child) -> ReplicaState:
    heartbeat, ready = child.heartbeat, child.ready
    environment = fleet.plan.replicas[number].environment
    visible = next((environment[name] for name in VISIBLE.values() if name in environment), "")
    return ReplicaState(
        name=child.name,
        stage="lost" if child.is_lost else "ready" if ready is not None else child.stage or "starting",
        in_flight=heartbeat.in_flight,
        capacity=ready.facts.get("max_concurrent") if ready is not None else None,
        answers=heartbeat.answers,
        tokens=heartbeat.tokens,
        generated=heartbeat.generated,
        still_s=0.0 if fleet.running is None or child.is_lost else round(fleet.running.still_s(number), 1),
        devices=tuple(int(part) for part in visible.split(",") if part.strip().isdecimal()),
    )


def _devices(sampler: Child | None) -> tuple[DeviceState, ...]:
    if sampler is None or sampler.is_lost or sampler.sampled is None:
        return ()
    try:
        return msgspec.convert(sampler.sampled.devices, tuple[DeviceState, ...])
    except msgspec.ValidationError:  # telemetry ends no run
        return ()


def _host(running: Sequence[Measurement], others: Others | None) -> HostState:
    memory, free = psutil.virtual_memory(), 0
    with suppress(OSError):
        free = shutil.disk_usage(running[0].folder).free if running else 0
    return HostState(
        cores=0 if others is None else others.cores,
        own_cores=None if others is None or others.own is None else round(others.own, 2),
        other_cores=None if others is None or others.now is None else round(others.now, 2),
        memory_bytes=memory.total,
        memory_free_bytes=memory.available,
        disk_free_bytes=free,
    )


def _slowing(
    replicas: Sequence[ReplicaState], others: Others | None, devices: Sequence[DeviceState]
) -> dict[str, _Episode]:
    """What slows the run now, by who it is about."""
    found = {
        it.name: _Episode("pause", "has generated nothing though it has work", it.still_s)
        for it in replicas
        if it.still_s >= _PAUSE_S
    }
    if others is not None and others.now is not None and others.is_noticeable:
        found["host"] = _Episode("host", f"others use {others.now:.1f} of {others.cores} cores")
    for device in devices:
        if device.throttled:
            what = f"throttled by {' and '.join(device.throttled)}"
            found[f"device {device.index}"] = _Episode("throttle", what)
    return found


@dataclass
class _Episode:
    """Something that lasts: its kind, what it is, and how long it had lasted when it was noticed."""

    kind: WarningKind
    what: str
    lasted_s: float = 0.0
    began_s: float = field(default=0.0)


class _Episodes:
    """Says of what lasts when it begins, and when it is over."""

    def __init__(self) -> None:
        self._open: dict[str, _Episode] = {}

    def look(self, now_s: float, found: Mapping[str, _Episode]) -> list[LiveWarning]:
        """What began or was over since the last look."""
        warnings = []
        for who in [who for who in self._open if who not in found]:
            over = self._open.pop(who)
            warnings.append(_warning(who, over, now_s - over.began_s))
        for who, episode in found.items():
            if who not in self._open:
                episode.began_s = now_s - episode.lasted_s
                self._open[who] = episode
                warnings.append(_warning(who, episode, None))
        return warnings


def _warning(who: str, episode: _Episode, seconds: float | None) -> LiveWarning:
    lasted = "" if seconds is None else f", for {seconds:.0f} s"
    text = f"{who}: {episode.what}{lasted}"
    return LiveWarning(kind=episode.kind, at_s=episode.began_s, text=text, seconds=seconds)
