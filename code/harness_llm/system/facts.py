"""What is known of a host: plain records, None where the machine did not tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness_llm.errors import FolderError


@dataclass(frozen=True)
class Cpu:
    """The processors of one host.

    Attributes:
        model: Model name, e.g. `AMD EPYC 9575F 64-Core Processor`.
        architecture: As the kernel names it, e.g. `x86_64`.
        sockets: Processor packages.
        cores_per_socket: Physical cores of one package.
        threads: Logical processors of the whole host.
        max_mhz: Highest frequency, MHz.
        caches: Size of one instance of each cache by name, e.g. `{"L3": "32768K"}`.
    """

    model: str | None = None
    architecture: str | None = None
    sockets: int | None = None
    cores_per_socket: int | None = None
    threads: int | None = None
    max_mhz: int | None = None
    caches: dict[str, str] | None = None


@dataclass(frozen=True)
class Memory:
    """The main memory of one host.

    Attributes:
        capacity_bytes: What the kernel can use, bytes.
        modules: One line for each kind of module, e.g. `24x 64 GB DDR5 4800 MT/s`; None where the firmware
            tables cannot be read (they need root, and virtual machines often have none).
    """

    capacity_bytes: int | None = None
    modules: str | None = None


@dataclass(frozen=True)
class Disk:
    """One block device that is real storage: size in bytes, kind such as `NVMe SSD` or `HDD`."""

    name: str
    size_bytes: int
    kind: str
    model: str | None = None


@dataclass(frozen=True)
class NetworkCard:
    """One network interface with hardware behind it.

    Attributes:
        name: The kernel's name, e.g. `eth0`.
        speed_mbit: Link speed, Mbit/s; None where the link is down or the driver does not say.
        driver: Kernel driver, e.g. `mlx5_core`.
    """

    name: str
    speed_mbit: int | None = None
    driver: str | None = None


@dataclass(frozen=True)
class Accelerator:
    """One GPU, as its vendor's library describes it.

    Attributes:
        name: Model name, e.g. `NVIDIA H200`.
        vendor: `NVIDIA` or `AMD`.
        memory_bytes: Capacity of its memory, bytes.
        max_mhz: Highest compute clock, MHz.
        host_interconnect: E.g. `PCIe Gen5 x16`.
        interconnect: Link between accelerators, e.g. `NVLink, 18 links`.
        driver: Version of the kernel driver.
        ecc: Whether error correction of its memory is on.
        power_limit_watts: Enforced board power limit, W.
    """

    name: str
    vendor: str
    memory_bytes: int | None = None
    max_mhz: int | None = None
    host_interconnect: str | None = None
    interconnect: str | None = None
    driver: str | None = None
    ecc: bool | None = None
    power_limit_watts: int | None = None


@dataclass(frozen=True)
class HostFacts:
    """Everything known of one host; a host without accelerators has an empty tuple of them.

    Attributes:
        product: Vendor and model of the machine, e.g. `Dell Inc. PowerEdge XE9680`.
        operating_system: Distribution and version.
        kernel: Kernel release.
        compute_stack: Version of CUDA or ROCm that the driver offers, e.g. `CUDA 13.0`.
    """

    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    disks: tuple[Disk, ...] = ()
    networks: tuple[NetworkCard, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    product: str | None = None
    operating_system: str | None = None
    kernel: str | None = None
    compute_stack: str | None = None

    def host_json(self) -> dict[str, Any]:
        """All but the accelerators, as `host` of run.json."""
        facts = asdict(self)
        del facts["accelerators"]
        return facts

    def accelerators_json(self) -> list[dict[str, Any]]:
        """The accelerators, as `accelerators` of run.json."""
        return [asdict(accelerator) for accelerator in self.accelerators]

    @classmethod
    def from_json(cls, host: object, accelerators: object, source: str) -> HostFacts:
        """Read facts back from what `host_json` and `accelerators_json` gave.

        Raises:
            FolderError: They have another shape.
        """
        try:
            if not isinstance(host, dict):
                raise TypeError(f"{host!r} is not an object")
            return _ADAPTER.validate_python({**host, "accelerators": accelerators})
        except (ValidationError, TypeError) as error:
            raise FolderError(f"{source}: the description of the host cannot be read: {error}") from error


_ADAPTER = TypeAdapter(HostFacts)
