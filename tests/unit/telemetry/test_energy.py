from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from golden.run_folder import build_run
from msgspec.structs import replace

from harness_llm.report.measured import Measured
from harness_llm.report.words import findings
from harness_llm.results.energy import energy, joules_per_token, told
from harness_llm.results.events import read_events
from harness_llm.results.live_file import LiveFile
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.telemetry.meter import Meter
from harness_llm.telemetry.process import sample
from harness_llm.telemetry.sources import AmdSmi, DeviceReading, Nvml, Recording
from harness_llm.telemetry.visible import visible_gpus
from harness_llm.transport.wire import Sampled, decode_control, encode
from harness_llm.views.run_summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _readings(power: Callable[[float], float], seconds: float, counter_j: float = 5e6) -> list[DeviceReading]:
    """What a device of this power reads 10 times a second, its counter as exact as can be."""
    found = []
    for number in range(int(seconds * 10) + 1):
        at = number / 10
        counter_j += power(at - 0.05) * 0.1 if number else 0.0
        found.append(
            DeviceReading(0, 100 + at, "GPU", power(at), counter_j, 1700 + number % 2, 0.5, 2**30, 50 + at)
        )
    return found


def _records(readings: list[DeviceReading], devices: int = 1) -> list[LiveRecord]:
    meter, found = Meter(), []
    for number, reading in enumerate(readings):
        meter.take(reading)
        if number % 10 == 0:
            state = meter.report()
            states = [msgspec.structs.replace(state, index=index) for index in range(devices)]
            found.append(LiveRecord(at_s=reading.at_s, began_at_s=100.0, devices=tuple(states)))
    return found


def test_energy_is_that_of_the_stretch_asked_for_by_both_ways() -> None:
    records = _records(_readings(lambda at: 300.0 if at < 10 else 700.0, 30), devices=2)
    steady = energy(records, 112.0, 122.0)
    assert steady is not None and steady.devices == 2
    assert steady.counter_j == pytest.approx(2 * 7000) and steady.integral_j == pytest.approx(2 * 7000)
    both = steady.per_token(2000)
    assert both == {"counter": pytest.approx(7), "integral": pytest.approx(7)}
    assert told(both) == "7 J/token by the devices' counters, 7 J/token by their power over time"
    ramp = energy(records, 105.0, 115.5)
    assert ramp is not None and ramp.integral_j == pytest.approx(2 * (1500 + 3850), rel=0.02)


def test_show_and_report_have_the_energy_of_a_test_and_of_its_steady_part(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", {"Server/performance": "toy-server-valid"})
    test = run / "Server" / "performance"
    events = read_events(test / EVENTS_NPY)
    begin, end = int(events["issued_ns"].min()) / 1e9, int(events["finished_ns"].max()) / 1e9
    assert joules_per_token(test) == {} and summarize(run).scenarios[0].joules_per_token == {}
    readings = _readings(lambda _: 300.0, end - begin + 4)
    moved = begin - 2 - readings[0].at_s
    records = _records([replace(it, at_s=it.at_s + moved) for it in readings])
    file = LiveFile(run)
    file.take(LiveRecord(at_s=0.0, began_at_s=0.0))
    for record in records:
        file.take(replace(record, version=1, began_at_s=begin - 2))
    file.close()
    expected = 300.0 * (end - begin) / int(events["tokens"].sum())
    (row,) = summarize(run).scenarios
    assert row.joules_per_token == {
        "counter": pytest.approx(expected, rel=1e-6),
        "integral": pytest.approx(expected, rel=1e-6),
    }
    assert any("J/token by the devices' counters" in note for note in summarize(run).notes())
    assert any(line.startswith("The steady part took ") for line in findings(Measured.read(test)))


def test_what_was_not_sampled_is_not_known() -> None:
    records = _records(_readings(lambda _: 300.0, 30))
    assert energy([], 1.0, 2.0) is None
    assert energy(records, 99.0, 120.0) is None, "no command had begun"
    late = energy(records, 110.0, 131.0)
    assert late is not None and late.counter_j is None and late.per_token(10) == {} and told({}) == ""
    gap = energy(records[:10] + records[20:], 105.0, 125.0)
    assert gap is not None and gap.integral_j is None
    assert energy(records[:10] + records[20:], 121.0, 125.0).integral_j == pytest.approx(1200)  # type: ignore[union-attr]


def test_a_meter_reports_means_and_what_slowed_the_device_since_the_last_report() -> None:
    meter = Meter()
    for at, watts, why in ((0.0, 100.0, ()), (0.1, 300.0, ("power",)), (0.2, 200.0, ("power", "heat"))):
        meter.take(DeviceReading(3, at, watts=watts, throttled=why))
    state = meter.report()
    assert (state.index, state.watts, state.throttled) == (3, 200.0, ("power", "heat"))
    assert state.integral_j == pytest.approx(45.0) and state.counter_j is None and state.mhz is None
    again = meter.report()
    assert (again.watts, again.throttled, again.integral_j) == (200.0, ("power", "heat"), 45.0)


def test_a_recording_is_replayed_from_now_on_and_sampled_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "readings.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode([reading]) for reading in _readings(lambda _: 50.0, 0.3)))
    assert [part.at_s for part in Recording(path, lambda: 7.0).read()] == [7.0]
    sent: list[Sampled] = []
    control: Any = SimpleNamespace(send=sent.append)
    sample(Recording(path), control, threading.Event())
    assert decode_control(encode(sent[-1])) == sent[-1]
    (state,) = msgspec.convert(sent[-1].devices, list[DeviceState])
    assert state.integral_j == pytest.approx(15.0) and state.name == "GPU"
    stopped = threading.Event()
    stopped.set()
    sample(Recording(path), SimpleNamespace(send=pytest.fail), stopped)  # type: ignore[arg-type]


class _NvmlError(Exception):
    pass


def _no_counter(_: object) -> int:
    raise _NvmlError


def test_nvml_is_read_in_its_units_and_what_it_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    library = SimpleNamespace(
        NVMLError=_NvmlError, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0,
        nvmlClocksThrottleReasonSwPowerCap=4, nvmlClocksThrottleReasonHwPowerBrakeSlowdown=128,
        nvmlClocksThrottleReasonSwThermalSlowdown=32, nvmlClocksThrottleReasonHwThermalSlowdown=64,
        nvmlClocksThrottleReasonHwSlowdown=8,
        nvmlDeviceGetCount=lambda: 1, nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _: "NVIDIA H100", nvmlDeviceGetPowerUsage=lambda _: 698_200,
        nvmlDeviceGetTotalEnergyConsumption=_no_counter,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=97, memory=40),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=2**36),
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 4 | 64,
        nvmlDeviceGetClockInfo=lambda _, kind: 1755, nvmlDeviceGetTemperature=lambda _, kind: 61,
    )  # fmt: skip
    (found,) = Nvml(library).read()
    assert (found.name, found.watts, found.counter_j, found.mhz) == ("NVIDIA H100", 698.2, None, 1755)
    assert (found.busy, found.memory_busy, found.memory_used_bytes) == (0.97, 0.4, 2**36)
    assert found.celsius == 61
    assert found.throttled == ("power", "heat")


@pytest.mark.parametrize(
    ("chosen", "visible"),
    [
        (None, [0, 1, 2]),
        ("2", [2]),
        ("2, 0", [2, 0]),
        ("GPU-b", [1]),
        ("GPU-b,GPU-none,0", [1]),  # as CUDA: nothing counts after a word that names no GPU
        ("7,0", []),
        ("", []),
        ("NoDevFiles", []),
        ("MIG-b12", [0, 1, 2]),
    ],
)
def test_only_gpus_that_the_command_may_use_are_read(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, visible: list[int]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    library = SimpleNamespace(
        nvmlDeviceGetCount=lambda: 3, nvmlDeviceGetHandleByIndex="abc".__getitem__,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}123",
    )  # fmt: skip
    found = visible_gpus(library)
    assert list(found) == visible and list(found.values()) == ["abc"[number] for number in visible]


def test_amd_smi_is_read_in_its_units_and_what_it_does_not_know_is_left_out() -> None:
    metrics = {"current_socket_power": 712, "current_gfxclk": 2100, "average_gfx_activity": 0xFFFF,
               "temperature_hotspot": "N/A"}  # fmt: skip
    library = SimpleNamespace(
        AmdSmiException=_NvmlError, AmdSmiMemoryType=SimpleNamespace(VRAM=0),
        amdsmi_get_gpu_metrics_info=lambda _: metrics,
        amdsmi_get_energy_count=lambda _: {"energy_accumulator": 2_000_000, "counter_resolution": 15.3},
        amdsmi_get_gpu_memory_usage=lambda _, kind: 2**37,
    )  # fmt: skip
    (found,) = AmdSmi(library, [object()]).read()
    assert (found.watts, found.mhz, found.busy, found.celsius) == (712.0, 2100.0, None, None)
    assert found.counter_j == pytest.approx(30.6) and found.memory_used_bytes == 2**37
