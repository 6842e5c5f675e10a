"""Where readings of accelerators come from: NVML, AMD SMI, or a recording; nothing, on a host without any."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness_llm.telemetry.visible import visible_gpus

_MEGA = 1e6


class DeviceReading(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accelerator at one moment; None for what its driver does not tell.

    Attributes:
        index: Its number, as the driver counts.
        at_s: When, monotonic seconds.
        name: Its name.
        watts: Power.
        counter_j: Its energy counter, joules since the driver was loaded.
        mhz: Clock of its processors.
        busy: Share of the last driver's interval in which it worked on anything, 0..1.
        memory_used_bytes: Memory in use.
        celsius: Temperature.
        throttled: What slows it now: `power`, `heat`, `hardware`.
        memory_busy: Share of that interval in which its memory was read or written, 0..1.
    """

    index: int
    at_s: float
    name: str = ""
    watts: float | None = None
    counter_j: float | None = None
    mhz: float | None = None
    busy: float | None = None
    memory_used_bytes: int | None = None
    celsius: float | None = None
    throttled: tuple[str, ...] = ()
    memory_busy: float | None = None


class Source(Protocol):
    """Reads all accelerators of a host."""

    def read(self) -> list[DeviceReading]:
        """One reading each; empty when there is nothing more to read."""


def open_source(recording: Path | None = None) -> Source | None:
    """The recording or simulated card, or the first library that knows an accelerator; None without any."""
    if recording is not None:
        return SimulatedCard(recording) if recording.suffix == ".card" else Recording(recording)
    return nvml() or amd_smi()


class Recording:
    """Replays readings from a file: a line of JSON for each moment, a list of readings.

    Args:
        path: The file.
        clock: Monotonic seconds; the recording's times are moved to begin now.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        decoder = msgspec.json.Decoder(list[DeviceReading])
        self._moments: Iterator[list[DeviceReading]] = map(decoder.decode, path.read_bytes().splitlines())
        self._clock = clock
        self._moved_s: float | None = None

    def read(self) -> list[DeviceReading]:
        """The next moment."""
        moment = next(self._moments, [])
        if self._moved_s is None and moment:
            self._moved_s = self._clock() - moment[0].at_s
        return [
            msgspec.structs.replace(reading, at_s=reading.at_s + (self._moved_s or 0.0)) for reading in moment
        ]


class CardState(msgspec.Struct, frozen=True):
    """What a simulated card is told: its cap, watts, and how busy it is, 0..1."""

    cap_w: float = 700.0
    busy: float = 0.0


class SimulatedCard:
    """A simulated card, for analyses and tests without a real one; its numbers are not results.

    Its power is `IDLE_W + busy * (BASE_W + CUBE_W * f**3)` at the share f of its highest clock, and a cap
    lowers f to what it allows: work per joule is best at a clock in between.

    Args:
        path: File with its `CardState`, which may change at any time.
    """

    IDLE_W, BASE_W, CUBE_W, CLOCK_MHZ = 70.0, 130.0, 500.0, 2000.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = CardState()
        self._last_s, self._joules = time.monotonic(), 0.0

    @classmethod
    def speed(cls, cap_w: float) -> float:
        """The share of its highest clock at which it works under a cap."""
        room = max(0.0, cap_w - cls.IDLE_W - cls.BASE_W) / cls.CUBE_W
        return max(0.1, min(1.0, float(room ** (1 / 3))))

    def read(self) -> list[DeviceReading]:
        """It, now."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self._state = msgspec.json.decode(self._path.read_bytes(), type=CardState)
        now, speed, busy = time.monotonic(), self.speed(self._state.cap_w), self._state.busy
        watts = self.IDLE_W + busy * (self.BASE_W + self.CUBE_W * speed**3)
        self._joules += watts * (now - self._last_s)
        self._last_s = now
        return [
            DeviceReading(
                0, now, "simulated card", watts=watts, counter_j=self._joules, mhz=self.CLOCK_MHZ * speed,
                busy=busy, memory_busy=busy / 2, memory_used_bytes=0, celsius=30 + watts / 12,
                throttled=("power",) if busy and speed < 1 else (),
            )
        ]  # fmt: skip


def nvml() -> Source | None:
    """NVIDIA's management library, where it is installed and knows a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Nvml(pynvml) if visible_gpus(pynvml) else None
    except pynvml.NVMLError:
        return None


class Nvml:
    """The GPUs that this command may use, by NVML; a host may have more, which work for others.

    Args:
        library: The module `pynvml`.
    """

    def __init__(self, library: Any) -> None:
        self._nvml = library
        self._handles = visible_gpus(library)
        self._names = {
            index: str(self._ask("nvmlDeviceGetName", it) or "") for index, it in self._handles.items()
        }
        self._reasons = {
            "power": library.nvmlClocksThrottleReasonSwPowerCap
            | library.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
            "heat": library.nvmlClocksThrottleReasonSwThermalSlowdown
            | library.nvmlClocksThrottleReasonHwThermalSlowdown,
            "hardware": library.nvmlClocksThrottleReasonHwSlowdown,
        }

    def read(self) -> list[DeviceReading]:
        """One reading of each GPU."""
        return [self._reading(index, handle) for index, handle in self._handles.items()]

    def _reading(self, index: int, handle: Any) -> DeviceReading:
        at_s = time.monotonic()
        milliwatts = self._ask("nvmlDeviceGetPowerUsage", handle)
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        used = self._ask("nvmlDeviceGetUtilizationRates", handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0
        return DeviceReading(
            index,
            at_s,
            self._names[index],
            watts=None if milliwatts is None else milliwatts / 1000,
            counter_j=None if millijoules is None else millijoules / 1000,
            mhz=self._ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_SM),
            busy=None if used is None else used.gpu / 100,
            memory_busy=None if used is None else used.memory / 100,
            memory_used_bytes=None if memory is None else memory.used,
            celsius=self._ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU),
            throttled=tuple(name for name, mask in self._reasons.items() if reasons & mask),
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


def amd_smi() -> Source | None:
    """AMD's management library, where it is installed and knows a GPU."""
    try:
        import amdsmi
    except (ImportError, KeyError, OSError):  # it loads a library of ROCm's when it is imported
        return None
    try:
        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except amdsmi.AmdSmiException:
        return None
    return AmdSmi(amdsmi, handles) if handles else None


class AmdSmi:
    """GPUs by AMD SMI.

    Args:
        library: The module `amdsmi`.
        handles: Of the GPUs.
    """

    def __init__(self, library: Any, handles: list[Any]) -> None:
        self._smi, self._handles = library, handles

    def read(self) -> list[DeviceReading]:
        """One reading of each GPU."""
        return [self._reading(index, handle) for index, handle in enumerate(self._handles)]

    def _reading(self, index: int, handle: Any) -> DeviceReading:
        at_s = time.monotonic()
        metrics = self._ask("amdsmi_get_gpu_metrics_info", handle) or {}
        energy = self._ask("amdsmi_get_energy_count", handle) or {}
        memory = self._ask("amdsmi_get_gpu_memory_usage", handle, self._smi.AmdSmiMemoryType.VRAM)
        ticks, micro = _number(energy.get("energy_accumulator")), _number(energy.get("counter_resolution"))
        busy = _number(metrics.get("average_gfx_activity"))
        return DeviceReading(
            index,
            at_s,
            watts=_number(metrics.get("current_socket_power"))
            or _number(metrics.get("average_socket_power")),
            counter_j=None if ticks is None or micro is None else ticks * micro / _MEGA,
            mhz=_number(metrics.get("current_gfxclk")),
            busy=None if busy is None else busy / 100,
            memory_used_bytes=memory if isinstance(memory, int) else None,
            celsius=_number(metrics.get("temperature_hotspot")),
        )

    def _ask(self, function: str, *arguments: Any) -> Any:
        with contextlib.suppress(self._smi.AmdSmiException, AttributeError):
            return getattr(self._smi, function)(*arguments)
        return None


def _number(found: Any) -> float | None:
    """A number; the library says `N/A`, or all bits set, for what it does not know."""
    is_known = isinstance(found, int | float) and not isinstance(found, bool) and found < 0xFFFF_FFFF_FFFF
    return float(found) if is_known and found != 0xFFFF else None
