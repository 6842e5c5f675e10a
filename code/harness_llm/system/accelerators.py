"""The GPUs of this host by NVML or AMD SMI; a host without any has an empty answer, not an error."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from harness_llm.system.facts import Accelerator

_log = logging.getLogger(__name__)
_AMD_SMI_SECONDS = 20


@dataclass(frozen=True)
class Found:
    """What the vendors' libraries told; the default is the host without accelerators.

    Attributes:
        accelerators: In the order of their indices.
        compute_stack: E.g. `CUDA 13.0` or `ROCm 7.0.2`, None where there is none.
    """

    accelerators: tuple[Accelerator, ...] = ()
    compute_stack: str | None = None


def read() -> Found:
    """Ask NVML, then AMD SMI; the first that knows a GPU answers."""
    return _nvml() or _amd() or Found()


def _nvml() -> Found | None:
    try:
        import pynvml as nvml
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        _log.debug("no NVIDIA GPU: %s", error)
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        version = _ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")
        stack = f"CUDA {version // 1000}.{version % 1000 // 10}" if version else None
        return Found(tuple(_nvidia(nvml, handle) for handle in handles), stack) if handles else None
    except nvml.NVMLError as error:
        _log.warning("NVML found a driver but no usable GPU: %s", error)
        return None
    finally:
        _ask(nvml, "nvmlShutdown")


def _ask(nvml: Any, function: str, *arguments: Any) -> Any:
    """What an NVML function returns; None where the device, the driver or the library does not support it."""
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError) as error:
        _log.debug("%s: %s", function, error)
        return None


def _nvidia(nvml: Any, handle: Any) -> Accelerator:
    memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    generation = _ask(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle)
    width = _ask(nvml, "nvmlDeviceGetMaxPcieLinkWidth", handle)
    links = range(nvml.NVML_NVLINK_MAX_LINKS)
    active = sum(_ask(nvml, "nvmlDeviceGetNvLinkState", handle, link) == 1 for link in links)
    ecc = _ask(nvml, "nvmlDeviceGetEccMode", handle)
    milliwatts = _ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)
    return Accelerator(
        name=str(_ask(nvml, "nvmlDeviceGetName", handle) or "NVIDIA GPU"),
        vendor="NVIDIA",
        memory_bytes=int(memory.total) if memory else None,
        max_mhz=_ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM),
        host_interconnect=f"PCIe Gen{generation} x{width}" if generation and width else None,
        interconnect=f"NVLink, {active} links" if active else None,
        driver=_ask(nvml, "nvmlSystemGetDriverVersion"),
        ecc=bool(ecc[0]) if ecc else None,
        power_limit_watts=milliwatts // 1000 if milliwatts else None,
    )


def _amd() -> Found | None:
    command = shutil.which("amd-smi")
    if command is None:
        return None
    try:
        static = _amd_smi(command, "static")
        version = _amd_smi(command, "version")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _log.warning("amd-smi is there but did not answer: %s", error)
        return None
    return parse_amd_smi(static, version)


def _amd_smi(command: str, question: str) -> Any:
    answer = subprocess.run(
        [command, question, "--json"], capture_output=True, timeout=_AMD_SMI_SECONDS, check=True
    )
    return json.loads(answer.stdout)


def parse_amd_smi(static: Any, version: Any) -> Found | None:
    """Read `amd-smi static --json` and `amd-smi version --json`.

    Every field may be missing or `N/A`: the tool's shape changed between ROCm releases (a list of GPUs before
    ROCm 7, an object with `gpu_data` since).
    """
    gpus = static.get("gpu_data", []) if isinstance(static, dict) else static
    found = tuple(_amd_gpu(gpu) for gpu in gpus if isinstance(gpu, dict)) if isinstance(gpus, list) else ()
    row = version[0] if isinstance(version, list) and version else version
    rocm = row.get("rocm_version") if isinstance(row, dict) else None
    return Found(found, f"ROCm {rocm}" if rocm and rocm != "N/A" else None) if found else None


def _amd_gpu(gpu: dict[str, Any]) -> Accelerator:
    megabytes = _pick_number(gpu, "vram", "size")
    width, speed = _pick_number(gpu, "bus", "max_pcie_width"), _pick_number(gpu, "bus", "max_pcie_speed")
    generation = {8: 3, 16: 4, 32: 5, 64: 6}.get(speed or 0)
    ecc = _pick(gpu, "ras", "ecc_block_state")
    return Accelerator(
        name=str(_pick(gpu, "asic", "market_name") or _pick(gpu, "board", "product_name") or "AMD GPU"),
        vendor="AMD",
        memory_bytes=megabytes * 1024 * 1024 if megabytes else None,
        max_mhz=_pick_number(gpu, "clock", "sys", "max"),
        host_interconnect=f"PCIe Gen{generation} x{width}" if generation and width else None,
        driver=_pick(gpu, "driver", "version"),
        ecc="ENABLED" in json.dumps(ecc) if ecc else None,
        power_limit_watts=_pick_number(gpu, "limit", "max_power"),
    )


def _pick(tree: Any, *keys: str) -> Any:
    """A value deep inside nested objects; None where a key is missing or the value is `N/A`."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return None if tree in ("N/A", "", None) else tree


def _pick_number(tree: Any, *keys: str) -> int | None:
    """Like `_pick`, for `16`, `"16"`, `"32 GT/s"` and `{"value": 16, "unit": "GB"}`."""
    found = _pick(tree, *keys)
    if isinstance(found, dict):
        found = found.get("value")
    number = re.match(r"\d+", str(found))
    return int(number[0]) if number else None
