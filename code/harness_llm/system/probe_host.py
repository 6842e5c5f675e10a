"""Looks at the host: processors, memory, clock, disk, and what else runs on it."""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import time
from collections import Counter
from pathlib import Path

import psutil

from harness_llm.system.diagnosis import Diagnosis, Surroundings, fails, good, note

_GIB = 1 << 30
_LEAST_MEMORY = 2 * _GIB
_LEAST_SHARED = 1 * _GIB
_LEAST_FILES, _ENOUGH_FILES = 256, 4096
_LEAST_DISK = 1 * _GIB
_SLOW_DISK = 50e6  # bytes/s
_WRITTEN = 32 << 20
_READ = 256 << 20
_LOOK_S = 2.0
_CLOCK_STEP_S = 0.001
_BUSY_CORES, _BUSY_SHARE = 0.25, 0.05
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies", "pit")


def memory(place: Surroundings) -> Diagnosis:
    """Main memory that is free."""
    found = psutil.virtual_memory()
    said = f"{found.available / _GIB:.1f} of {found.total / _GIB:.1f} GiB are free"
    if found.available < _LEAST_MEMORY:
        return fails(
            "memory", said, "End what holds it, or take a larger machine: vLLM alone needs about 2 GiB."
        )
    return good("memory", said)


def shared_memory(place: Surroundings) -> Diagnosis:
    """/dev/shm, by which the processes of one model speak to one another."""
    name = "shared memory"
    try:
        free = shutil.disk_usage(place.root / "dev" / "shm").free
    except OSError:
        return note(name, "/dev/shm is not there", "Mount a tmpfs on /dev/shm.")
    said = f"{free / _GIB:.1f} GiB are free in /dev/shm"
    if free >= _LEAST_SHARED:
        return good(name, said)
    remedy = (
        "Start the container with --ipc host or --shm-size 16g; on a host, remount /dev/shm with size=16g."
    )
    worse = fails if place.gpus > 1 else note
    return worse(name, f"{said}, too little for a model on several GPUs", remedy)


def file_limits(place: Surroundings) -> Diagnosis:
    """Files that a process may open; each replica and each request to a server takes some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"a process may open {soft:,} files"
    remedy = f"ulimit -n {min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536}"
    if soft == resource.RLIM_INFINITY or soft >= _ENOUGH_FILES:
        return good("file limits", said)
    return (fails if soft < _LEAST_FILES else note)("file limits", said, remedy)


def governor(place: Surroundings) -> Diagnosis:
    """How the kernel chooses the processors' frequency."""
    files = sorted((place.root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    found = Counter(place.text(str(file.relative_to(place.root))) for file in files)
    if not found:
        return good("governor", "not visible, as on virtual machines")
    said = ", ".join(f"{name} on {count} of {len(files)} cores" for name, count in found.most_common())
    if set(found) == {"performance"}:
        return good("governor", said)
    return note("governor", said, "sudo cpupower frequency-set -g performance")


def numa(place: Surroundings) -> Diagnosis:
    """Memory nodes, and whether the kernel moves pages between them."""
    nodes = len(list((place.root / "sys/devices/system/node").glob("node[0-9]*")))
    if nodes <= 1:
        return good("NUMA", "one memory node")
    if place.text("proc/sys/kernel/numa_balancing") not in ("", "0"):
        return note(
            "NUMA",
            f"{nodes} memory nodes, pages are moved between them",
            "sudo sysctl -w kernel.numa_balancing=0",
        )
    return good("NUMA", f"{nodes} memory nodes, pages stay where they are")


def disk(place: Surroundings) -> Diagnosis:
    """Room and speed of writing where results go."""
    name, folder = "disk", place.results
    try:
        free = shutil.disk_usage(folder).free
        speed = _write_speed(folder)
    except OSError as error:
        return fails(
            name, f"{folder}: cannot be written: {error.strerror}", "Choose another folder with --output."
        )
    said = f"{folder.absolute()}: {free / _GIB:,.0f} GiB are free, written with {speed / 1e6:,.0f} MB/s"
    if free < _LEAST_DISK:
        return fails(name, said, "Free disk space, or choose another folder with --output.")
    return good(name, said) if speed >= _SLOW_DISK else note(name, said, "Write results to a local disk.")


def _write_speed(folder: Path) -> float:
    path = folder / f".doctor-{secrets.token_hex(4)}"
    block = os.urandom(1 << 20)
    began = time.monotonic()
    try:
        with path.open("wb") as file:
            for _ in range(_WRITTEN // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return _WRITTEN / max(1e-9, time.monotonic() - began)
    finally:
        path.unlink(missing_ok=True)


def read_speed(path: Path) -> float:
    """Bytes per second of a file's first part, read from the disk and not from the kernel's memory."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, _READ, os.POSIX_FADV_DONTNEED)
        began, count = time.monotonic(), 0
        while count < _READ and (block := file.read(4 << 20)):
            count += len(block)
    return count / max(1e-9, time.monotonic() - began)


def clock(place: Surroundings) -> Diagnosis:
    """The clock by which LoadGen measures: its source, and whether something sets it."""
    source = place.text("sys/devices/system/clocksource/clocksource0/current_clocksource") or "unknown"
    before = time.time() - time.monotonic()
    time.sleep(_LOOK_S)
    step = time.time() - time.monotonic() - before
    said = f"source {source}, moved by {step * 1000:+.2f} ms against the monotonic clock in {_LOOK_S:g} s"
    if abs(step) > _CLOCK_STEP_S:
        return note(
            "clock",
            said,
            "Let chrony or systemd-timesyncd reach its servers, and wait until it no longer steps.",
        )
    if source in _SLOW_CLOCKS:
        return note(
            "clock",
            said,
            "Boot with clocksource=tsc where the processor has a steady one; each look at it costs µs.",
        )
    return good("clock", said)


def busy_cores(place: Surroundings) -> Diagnosis:
    """What processes hold the cores now."""
    before = {process.pid: _used(process) for process in psutil.process_iter()}
    psutil.cpu_percent()
    time.sleep(_LOOK_S)
    cores = psutil.cpu_count() or 1
    busy = psutil.cpu_percent() / 100 * cores
    said = f"{busy:.1f} of {cores} cores are busy"
    if busy < max(_BUSY_CORES, _BUSY_SHARE * cores):
        return good("busy cores", said)
    return note(
        "busy cores",
        f"{said}: {_busiest(before) or 'by no process that can be seen'}",
        "End what runs beside, or measure later.",
    )


def _used(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _busiest(before: dict[int, float]) -> str:
    shares = []
    for process in psutil.process_iter():
        share = (_used(process) - before.get(process.pid, 0.0)) / _LOOK_S
        if share >= _BUSY_SHARE and process.pid != os.getpid():
            try:
                shares.append((share, f"{process.name()} ({process.pid}) {share:.1f}"))
            except psutil.Error:
                continue
    return ", ".join(said for _, said in sorted(shares, reverse=True)[:3])
