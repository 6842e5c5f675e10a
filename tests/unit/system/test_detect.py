import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness_llm.errors import FolderError
from harness_llm.system import HostFacts, accelerators, memory_modules, provenance
from harness_llm.system.detect import computes_bfloat16, detect
from harness_llm.system.facts import Accelerator


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A host of two sockets with four cores and eight threads each, as /proc and /sys show it."""
    for thread in range(16):
        base = f"sys/devices/system/cpu/cpu{thread}"
        put(tmp_path, f"{base}/topology/physical_package_id", f"{thread // 8}\n")
        put(tmp_path, f"{base}/topology/core_id", f"{thread % 4}\n")
        put(tmp_path, f"{base}/cpufreq/cpuinfo_max_freq", "3700000\n")
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K"), ("3", "", "96M")]
    ):
        cache = f"sys/devices/system/cpu/cpu0/cache/index{index}"
        put(tmp_path, f"{cache}/level", level)
        put(tmp_path, f"{cache}/type", kind)
        put(tmp_path, f"{cache}/size", size)
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) 8480+\ncpu MHz\t: 2000.0\n")
    put(tmp_path, "proc/meminfo", "MemTotal:       2113513412 kB\nMemFree: 1 kB\n")
    put(tmp_path, "proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
    put(tmp_path, "etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n')
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "Dell Inc.\n")
    put(tmp_path, "sys/class/dmi/id/product_name", "PowerEdge XE9680\n")
    for name, rotational in [("nvme0n1", "0"), ("sda", "1"), ("sdb", "0"), ("loop0", "0"), ("zram0", "0")]:
        put(tmp_path, f"sys/block/{name}/size", "2000000\n")
        put(tmp_path, f"sys/block/{name}/queue/rotational", rotational)
    put(tmp_path, "sys/block/sdb/removable", "1\n")
    put(tmp_path, "sys/class/net/eth0/device/vendor", "0x15b3")
    put(tmp_path, "sys/class/net/eth0/speed", "400000\n")
    put(tmp_path, "sys/class/net/eth1/device/vendor", "0x15b3")
    put(tmp_path, "sys/class/net/eth1/speed", "-1\n")
    put(tmp_path, "sys/class/net/lo/speed", "10\n")
    return tmp_path


def test_reads_a_server(server: Path) -> None:
    facts = detect(server)
    assert (facts.cpu.sockets, facts.cpu.cores_per_socket, facts.cpu.threads) == (2, 4, 16)
    assert (facts.cpu.model, facts.cpu.max_mhz) == ("Intel(R) Xeon(R) 8480+", 3700)
    assert facts.cpu.caches == {"L1d": "48K", "L1i": "32K", "L2": "2048K", "L3": "96M"}
    assert facts.memory.capacity_bytes == 2113513412 * 1024
    assert (facts.product, facts.operating_system) == ("Dell Inc. PowerEdge XE9680", "Ubuntu 24.04.1 LTS")
    assert [(disk.name, disk.kind) for disk in facts.disks] == [("nvme0n1", "NVMe SSD"), ("sda", "HDD")]
    assert facts.disks[0].size_bytes == 1_024_000_000
    assert [(card.name, card.speed_mbit) for card in facts.networks] == [("eth0", 400000), ("eth1", None)]


def test_nothing_readable_is_all_none(tmp_path: Path) -> None:
    facts = detect(tmp_path)
    assert (facts.cpu.model, facts.cpu.sockets, facts.memory.capacity_bytes, facts.kernel) == (None,) * 4
    assert facts.disks == () and facts.networks == () and facts.accelerators == ()


def test_damaged_files_are_missing_facts(server: Path) -> None:
    (server / "proc/meminfo").write_bytes(b"\xff\xfeMemTotal: lots kB\n")
    put(server, "sys/devices/system/cpu/cpu3/topology/core_id", "three")
    put(server, "sys/block/sda/size", "")
    facts = detect(server)
    assert facts.memory.capacity_bytes is None
    assert facts.cpu.threads == 16
    assert [disk.name for disk in facts.disks] == ["nvme0n1"]


def test_this_host_can_be_read() -> None:
    facts = detect()
    assert facts.cpu.threads and facts.memory.capacity_bytes and facts.kernel


def test_facts_survive_json(server: Path) -> None:
    facts = detect(server)
    assert HostFacts.from_json(facts.host_json(), facts.accelerators_json(), "run.json") == facts


@pytest.mark.parametrize("host", [None, [], {"cpu": 3}, {"disks": [{"name": "sda"}]}])
def test_foreign_facts_are_refused(host: object) -> None:
    with pytest.raises(FolderError, match="cannot be read"):
        HostFacts.from_json(host, [], "run.json")


def memory_device(size: int, speed: int = 4800, kind: int = 0x22, extended: int = 0) -> bytes:
    body = bytearray(0x28)
    body[0], body[1], body[0x12] = 17, len(body), kind
    struct.pack_into("<H", body, 0x0C, size)
    struct.pack_into("<H", body, 0x15, speed)
    struct.pack_into("<I", body, 0x1C, extended)
    return bytes(body) + b"DIMM_A1\0Micron\0\0"


def test_memory_modules_are_counted(tmp_path: Path) -> None:
    other = bytes([1, 4, 0, 0]) + b"\0\0"
    large, empty_slot = memory_device(0x7FFF, extended=65536), memory_device(0)
    old = memory_device(16384, 3200, 0x1A)
    end = bytes([127, 4, 0, 0, 0, 0])
    path = tmp_path / "DMI"
    path.write_bytes(other + large * 2 + empty_slot + old + end + memory_device(16384))
    assert memory_modules.read(path) == "2x 64 GB DDR5 4800 MT/s, 1x 16 GB DDR4 3200 MT/s"


@pytest.mark.parametrize("table", [b"", b"\x11", b"\x11\x02", memory_device(16384)[:20]])
def test_a_cut_memory_table_is_no_error(tmp_path: Path, table: bytes) -> None:
    path = tmp_path / "DMI"
    path.write_bytes(table)
    assert memory_modules.read(path) is None


class FakeNvml(SimpleNamespace):
    NVML_NVLINK_MAX_LINKS = 18
    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass


def fake_nvml(count: int, broken: str = "") -> FakeNvml:
    answers = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": count,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlSystemGetCudaDriverVersion_v2": 13000,
        "nvmlSystemGetDriverVersion": "580.65.06",
        "nvmlDeviceGetName": "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=150754820096),
        "nvmlDeviceGetMaxPcieLinkGeneration": 5,
        "nvmlDeviceGetMaxPcieLinkWidth": 16,
        "nvmlDeviceGetNvLinkState": 1,
        "nvmlDeviceGetEccMode": [1, 1],
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetEnforcedPowerLimit": 700000,
    }

    def function(name: str):
        def call(*_arguments: object) -> object:
            if name == broken:
                raise FakeNvml.NVMLError(name)
            return answers[name]

        return call

    return FakeNvml(**{name: function(name) for name in answers})


def test_nvml_tells_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake_nvml(8))
    found = accelerators.read()
    assert len(found.accelerators) == 8 and found.compute_stack == "CUDA 13.0"
    expected = Accelerator(
        "NVIDIA H200",
        "NVIDIA",
        150754820096,
        1980,
        "PCIe Gen5 x16",
        "NVLink, 18 links",
        "580.65.06",
        True,
        power_limit_watts=700,
    )
    assert found.accelerators[0] == expected


def test_what_a_gpu_does_not_support_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake_nvml(1, "nvmlDeviceGetNvLinkState"))
    assert accelerators.read().accelerators[0].interconnect is None


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_no_usable_gpu_is_an_empty_answer(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake_nvml(1, broken))
    monkeypatch.setenv("PATH", "/nonexistent")
    assert accelerators.read() == accelerators.Found()


AMD_GPU = {
    "asic": {"market_name": "AMD Instinct MI300X"},
    "bus": {"max_pcie_width": 16, "max_pcie_speed": {"value": 32, "unit": "GT/s"}},
    "vram": {"size": {"value": 196592, "unit": "MB"}},
    "driver": {"version": "6.14.14"},
    "limit": {"max_power": {"value": 750, "unit": "W"}},
    "board": "N/A",
}


@pytest.mark.parametrize("static", [[AMD_GPU], {"gpu_data": [AMD_GPU]}])
def test_amd_smi_in_both_of_its_shapes(static: object) -> None:
    found = accelerators.parse_amd_smi(static, [{"rocm_version": "7.0.2"}])
    assert found is not None and found.compute_stack == "ROCm 7.0.2"
    gpu = found.accelerators[0]
    assert (gpu.name, gpu.power_limit_watts) == ("AMD Instinct MI300X", 750)
    assert gpu.memory_bytes == 196592 * 1024 * 1024
    assert gpu.host_interconnect == "PCIe Gen5 x16"


@pytest.mark.parametrize("static", [[], {}, {"gpu_data": []}, "N/A", None, [3]])
def test_amd_smi_without_a_gpu(static: object) -> None:
    assert accelerators.parse_amd_smi(static, None) is None


def commit(repository: Path) -> str:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    (repository / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    git("commit", "-qm", "first")
    return git("rev-parse", "HEAD")


def test_git_state_names_what_changed(tmp_path: Path) -> None:
    head = commit(tmp_path)
    assert provenance.git_state(tmp_path) == {"commit": head, "dirty": False, "changed": []}
    (tmp_path / "a.py").write_text("x = 2\n")
    (tmp_path / "new file.py").write_text("")
    changed = ["a.py", "new file.py"]
    assert provenance.git_state(tmp_path) == {"commit": head, "dirty": True, "changed": changed}


def test_no_checkout_is_unknown_not_clean(tmp_path: Path) -> None:
    assert provenance.git_state(tmp_path) == {"commit": None, "dirty": None, "changed": []}
    assert provenance.git_state(tmp_path / "missing")["dirty"] is None


def test_packages_have_versions() -> None:
    found = provenance.packages()
    assert found["python"] and found["numpy"] and "nonsense" not in found


@pytest.mark.parametrize(
    ("line", "computes"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2 f16c", False),
        ("model name\t: bf16", False),
    ],
)
def test_bfloat16_is_what_the_cpu_says(tmp_path: Path, line: str, computes: bool) -> None:
    put(tmp_path, "proc/cpuinfo", f"processor\t: 0\n{line}\n")
    assert computes_bfloat16(tmp_path) is computes
