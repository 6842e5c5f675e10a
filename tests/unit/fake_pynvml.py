"""A library like `pynvml`, of cards in a file, so that every process sees them; it records each write.

FAKE_NVML names the file: `{"limits": [mW, …], "writes": [[card, mW], …], "refuses": …, "breaks_at": …}`.
"""

import json
import os
from pathlib import Path

NVML_CLOCK_SM = NVML_TEMPERATURE_GPU = 1
NVML_GPU_VIRTUALIZATION_MODE_VGPU = 2
NVML_NVLINK_MAX_LINKS = 0
for _name in (
    "SwPowerCap", "HwPowerBrakeSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwSlowdown",
):  # fmt: skip
    globals()[f"nvmlClocksThrottleReason{_name}"] = 0


class NVMLError(Exception):
    pass


def _state():
    return json.loads(Path(os.environ["FAKE_NVML"]).read_text())


def _keep(state):
    path = Path(os.environ["FAKE_NVML"])
    other = path.with_suffix(f".{os.getpid()}")
    other.write_text(json.dumps(state))
    other.rename(path)


def nvmlInit():  # noqa: N802
    pass


def nvmlDeviceGetCount():  # noqa: N802
    return len(_state()["limits"])


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    return index


def nvmlDeviceGetName(handle):  # noqa: N802
    return "fake card"


def nvmlDeviceGetPowerManagementLimit(handle):  # noqa: N802
    return _state()["limits"][handle]


def nvmlDeviceGetPowerManagementLimitConstraints(handle):  # noqa: N802
    return 200_000, 700_000


def nvmlDeviceGetPowerManagementDefaultLimit(handle):  # noqa: N802
    return 700_000


def nvmlDeviceGetVirtualizationMode(handle):  # noqa: N802
    return _state().get("virtual", 0)


def nvmlDeviceGetPowerUsage(handle):  # noqa: N802
    return _state()["limits"][handle]


def nvmlDeviceSetPowerManagementLimit(handle, milliwatts):  # noqa: N802
    state = _state()
    state["writes"].append([handle, milliwatts])
    breaks = state.get("breaks_at") == len(state["writes"])
    if state.get("refuses") or breaks:
        _keep(state)
        raise NVMLError("Insufficient Permissions")
    state["limits"][handle] = milliwatts
    _keep(state)
