"""Which of a host's NVIDIA GPUs a command may use; NVML itself shows all of them, whoever uses them."""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(library: Any) -> dict[int, Any]:
    """NVML's handles of the GPUs that CUDA_VISIBLE_DEVICES names, by NVML's numbers; without it all of them.

    It is read as CUDA reads it: numbers, or how a UUID begins, and nothing counts after a word that names no
    GPU. Numbers are taken for NVML's, which they are where all GPUs of a host are equal. The energy of a part
    of a GPU (MIG) is not known apart: there, all GPUs are visible.
    """
    handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
    chosen = os.environ.get(VARIABLE)
    if chosen is None or chosen.strip().startswith("MIG-"):
        return dict(enumerate(handles))
    found = {}
    for word in map(str.strip, chosen.split(",")):
        number = int(word) if word.isdecimal() else _by_uuid(library, handles, word)
        if number is None or number >= len(handles):
            break
        found[number] = handles[number]
    return found


def by_uuid(devices: str) -> str:
    """Name the GPUs of a CUDA_VISIBLE_DEVICES by UUID, which means the same to every program.

    Without NVML, or where NVML does not know the numbers, the text is returned unchanged.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        words = [word.strip() for word in devices.split(",")]
        handles = [pynvml.nvmlDeviceGetHandleByIndex(int(word)) for word in words]
        return ",".join(str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles)
    except (ImportError, ValueError):
        return devices
    except pynvml.NVMLError:
        return devices


def _by_uuid(library: Any, handles: list[Any], begin: str) -> int | None:
    if not begin.startswith("GPU-"):
        return None
    uuids = [str(library.nvmlDeviceGetUUID(handle)) for handle in handles]
    return next((number for number, uuid in enumerate(uuids) if uuid.startswith(begin)), None)
