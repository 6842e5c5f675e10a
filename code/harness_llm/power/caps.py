"""The only place that writes a setting to a card: its power limit, and only where that was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness_llm.errors import ConfigError, HostError
from harness_llm.files import write_atomically
from harness_llm.telemetry.sources import CardState, SimulatedCard
from harness_llm.telemetry.visible import VARIABLE, visible_gpus

SWITCH = "HARNESS_POWER_CONTROL"
"""Environment variable that forbids every write, whatever is asked, with `forbid` or any other value."""

_MILLI = 1000
_STEP_W = 5.0
_SYS_ADMIN = 21  # capability, linux/capability.h
_NOBODY = 65534
_REMEDY = (
    "Run as root, in a container with --cap-add=SYS_ADMIN, on a host of your own; or leave the caps alone "
    "and sweep the load instead: --set knob=load."
)


class Caps(Protocol):
    """Power caps of the cards of a study, watts."""

    def range(self) -> tuple[float, float, float]:
        """Lowest, highest and default cap that all cards take; reads only."""

    def set(self, watts: float) -> float:
        """Cap every card; what the cards say their cap is then."""

    def restore(self) -> None:
        """Give every card the cap that it had."""


def require_asked(set_caps: bool) -> None:
    """Refuse to write where it was not asked for, or is forbidden.

    Raises:
        ConfigError: Say how to ask, or who forbids.
    """
    if found := os.environ.get(SWITCH):
        raise ConfigError(
            f"the environment forbids setting power caps ({SWITCH}={found})",
            "Sweep the load instead: --set knob=load.",
        )
    if not set_caps:
        raise ConfigError(
            "knob: cap sets power caps, and nothing is set unless that is asked for",
            "Add --set-caps, on a card that is yours; or sweep the load instead: --set knob=load.",
        )


def refused(why: str) -> ConfigError:
    """What is said where this host would refuse a cap."""
    return ConfigError(f"power caps cannot be set here: {why}", _REMEDY)


class NvmlCaps:
    """Caps of the GPUs that this command may use, by NVIDIA's management library.

    Args:
        library: The module `pynvml`.
        set_caps: Whether the user asked for it.
        before: By card, the caps to give back, milliwatts; None: those that the cards have now.
        status: Of this process, by the kernel.
        device: Of the driver.
    """

    def __init__(
        self,
        library: Any,
        *,
        set_caps: bool,
        before: Mapping[int, int] | None = None,
        status: Path = Path("/proc/self/status"),
        device: Path = Path("/dev/nvidiactl"),
    ) -> None:
        self._nvml, self._set_caps, self._status, self._device = library, set_caps, status, device
        library.nvmlInit()
        self._handles = visible_gpus(library)
        if not self._handles:
            raise refused(f"no GPU of this host is visible here ({VARIABLE})")
        self.before = dict(before) if before is not None else self.now()

    def now(self) -> dict[int, int]:
        """The caps that the cards have, milliwatts, by card."""
        return {i: int(self._nvml.nvmlDeviceGetPowerManagementLimit(h)) for i, h in self._handles.items()}

    def range(self) -> tuple[float, float, float]:
        """See `Caps.range`."""
        limits = [self._nvml.nvmlDeviceGetPowerManagementLimitConstraints(h) for h in self._handles.values()]
        default = min(self._nvml.nvmlDeviceGetPowerManagementDefaultLimit(h) for h in self._handles.values())
        return (
            max(low for low, _ in limits) / _MILLI,
            min(high for _, high in limits) / _MILLI,
            default / _MILLI,
        )

    def refusal(self) -> str:
        """Why this host would refuse a cap, found by reading alone; empty where it would not."""
        try:
            status = self._status.read_text(encoding="ascii", errors="replace")
            held = next((int(it.split()[1], 16) for it in status.splitlines() if it.startswith("CapEff:")), 0)
            if not held >> _SYS_ADMIN & 1:
                return "this process lacks the capability SYS_ADMIN"
            if self._device.exists() and self._device.stat().st_uid == _NOBODY:
                return f"{self._device} belongs to nobody: the host's root is not this container's"
        except OSError as error:
            return f"{error.filename} cannot be looked at: {error.strerror}"
        try:
            mode = self._nvml.nvmlDeviceGetVirtualizationMode(next(iter(self._handles.values())))
        except (self._nvml.NVMLError, AttributeError):
            return ""
        return (
            "the card is a virtual one (vGPU)" if mode == self._nvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU else ""
        )

    def prove(self) -> None:
        """Set the caps that are set already: shows that caps may be set, and changes nothing.

        Raises:
            ConfigError: They may not.
        """
        if why := self.refusal():
            raise refused(why)
        for index, milliwatts in self.now().items():
            self._write(index, milliwatts)

    def set(self, watts: float) -> float:
        """See `Caps.set`."""
        for index in self._handles:
            self._write(index, round(watts * _MILLI))
        found = set(self.now().values())
        if found != {round(watts * _MILLI)}:
            raise HostError(f"asked for a cap of {watts:g} W, the cards have {sorted(found)} mW", _REMEDY)
        return watts

    def restore(self) -> None:
        """See `Caps.restore`; a card that has its cap is not written to."""
        failed = []
        for index, milliwatts in self.before.items():  # a card that is lost keeps none of the others from it
            try:
                if int(self._nvml.nvmlDeviceGetPowerManagementLimit(self._handles[index])) != milliwatts:
                    self._write(index, milliwatts)
            except (ConfigError, KeyError, self._nvml.NVMLError) as error:
                failed.append(f"card {index}: {error}")
        if failed:
            raise HostError(f"power caps were not restored: {'; '.join(failed)}", _REMEDY)

    def _write(self, index: int, milliwatts: int) -> None:
        require_asked(self._set_caps)
        try:
            self._nvml.nvmlDeviceSetPowerManagementLimit(self._handles[index], milliwatts)
        except self._nvml.NVMLError as error:
            raise ConfigError(f"card {index}: its power cap cannot be set: {error}", _REMEDY) from error


class SimulatedCaps:
    """Caps of a simulated card; also its speed, for the engines and trainings that it slows.

    Args:
        folder: Where its files lie.
    """

    RANGE = (250.0, 700.0, 700.0)

    def __init__(self, folder: Path) -> None:
        self.state, self.speed = folder / "simulated.card", folder / "speed.txt"
        self._cap_w, self._busy = CardState().cap_w, 0.0
        self._write()

    def range(self) -> tuple[float, float, float]:
        """See `Caps.range`."""
        return self.RANGE

    def set(self, watts: float) -> float:
        """See `Caps.set`."""
        self._cap_w = watts
        self._write()
        return watts

    def work(self, busy: float) -> None:
        """How busy it is from now on, 0..1."""
        self._busy = busy
        self._write()

    def restore(self) -> None:
        """See `Caps.restore`."""
        self.set(CardState().cap_w)

    def _write(self) -> None:
        write_atomically(self.state, msgspec.json.encode(CardState(self._cap_w, self._busy)))
        write_atomically(self.speed, f"{SimulatedCard.speed(self._cap_w):.6f}")


def chosen_caps(possible: tuple[float, float, float], asked: Sequence[float]) -> list[float]:
    """The caps to measure: those asked for, or seven from the lowest to the highest, and the default.

    Args:
        possible: The lowest, the highest and the default cap, watts.
        asked: May be empty.

    Raises:
        ConfigError: One is out of range.
    """
    low, high, default = possible
    if outside := [watts for watts in asked if not low <= watts <= high]:
        raise ConfigError(
            f"values: {', '.join(f'{watts:g}' for watts in outside)} W: the cards take {low:g} to {high:g} W",
            "Choose caps within that range.",
        )
    if asked:
        return list(asked)
    steps = [low + (high - low) * step / 6 for step in range(7)]
    return sorted({*(min(high, max(low, _STEP_W * round(watts / _STEP_W))) for watts in steps), default})
