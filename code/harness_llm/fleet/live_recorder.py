"""Makes the records of live.jsonl from what the supervisor knows, and says what slows a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import psutil

from harness_llm.fleet.measurement import Measurement
from harness_llm.fleet.slowing import Episodes, LogEye, PauseEar, slowing
from harness_llm.launch.child import Child, Loss
from harness_llm.launch.placement import VISIBLE
from harness_llm.results.live_records import (
    DeviceState,
    HostState,
    LiveRecord,
    LiveWarning,
    ReplicaState,
)
from harness_llm.system.others import Others

if TYPE_CHECKING:  # a watch has a recorder, and fleets
    from harness_llm.fleet.fleet import Fleet

_INTERVAL_S = 1.0


class LiveRecorder:
    """Makes a record a second."""

    def __init__(self) -> None:
        self._sampler: Child | None = None
        self._began_s = time.monotonic()
        self._made_s, self._stage = 0.0, ""
        self._episodes, self._pauses, self._logs = Episodes(), PauseEar(), LogEye()
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

    def record(
        self,
        stage: str,
        running: Sequence[Measurement],
        fleets: Sequence[Fleet],
        others: Others | None = None,
    ) -> LiveRecord:
        """How it goes now.

        Args:
            stage: What happens now.
            running: The tests that run, or ended since the last record.
            fleets: The fleets, of which some may be loaded.
            others: What others hold of this host, where no running test knows.
        """
        now = self._made_s = time.monotonic()
        self._stage = stage
        devices = _devices(self._sampler)
        others = next((it.progress.others for it in running if it.progress.others is not None), others)
        replicas = tuple(
            _replica(fleet, number, child) for fleet in fleets for number, child in enumerate(fleet.replicas)
        )
        warnings = [*self._losses, *self._episodes.look(now, slowing(replicas, others, devices))]
        for fleet in fleets:
            began_s = None if fleet.running is None else fleet.running.progress.started
            for number, child in enumerate(fleet.replicas):
                known_s = self._episodes.pauses.get(child.name)
                warnings += self._pauses.hear(child.name, child.heartbeat.pauses, now, began_s, known_s)
                warnings += self._logs.look(child, fleet.plan.replicas[number].engine, now, began_s)
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
        kv_cache=None if heartbeat.kv_cache is None else round(heartbeat.kv_cache, 4),
        metrics=heartbeat.metrics,
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
