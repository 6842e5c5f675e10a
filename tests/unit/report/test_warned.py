from __future__ import annotations

from typing import TYPE_CHECKING

from synthetic_run import Plan, write_run

from harness_llm.report.measured import Measured
from harness_llm.report.words import findings
from harness_llm.results.events import read_events
from harness_llm.results.live_file import LiveFile
from harness_llm.results.live_records import LiveRecord, LiveWarning
from harness_llm.results.paths import EVENTS_NPY

if TYPE_CHECKING:
    from pathlib import Path

REPLICA = "Server/replica-0"
LINE = "Triton kernel JIT compilation during inference: x"


def test_what_the_stream_warned_of_is_told_with_its_replica_and_its_time(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Plan(queries=800))
    test = run / "Server" / "performance"
    assert Measured.read(test).warned == []
    origin = int(read_events(test / EVENTS_NPY)["issued_ns"][0]) / 1e9
    warnings = (
        LiveWarning(kind="compile", at_s=origin - 9, text=f"{REPLICA}: {LINE} while it loads"),
        LiveWarning(kind="pause", at_s=origin + 12, text=f"{REPLICA}: a step took 0.40 s", seconds=0.4),
        LiveWarning(kind="pause", at_s=origin + 31, text=f"{REPLICA}: a step took 1.25 s", seconds=1.25),
        LiveWarning(kind="compile", at_s=origin + 30, text=f"{REPLICA}: {LINE}", seconds=0.0),
        LiveWarning(kind="throttle", at_s=origin + 40, text="device 3: throttled by power"),
        LiveWarning(
            kind="throttle", at_s=origin + 40, text="device 3: throttled by power, for 5 s", seconds=5.0
        ),
        LiveWarning(kind="host", at_s=origin + 9000, text="host: others use 1.4 of 2 cores"),
    )
    file = LiveFile(run)
    for warning in warnings:
        file.take(LiveRecord(version=1, at_s=warning.at_s, began_at_s=0.0, warnings=(warning,)))
    file.close()
    told = findings(Measured.read(test))
    for sentence in (
        f"{REPLICA} compiled while it was measured: 1 line of its log, the first at 30.0 s: “{LINE}”. "
        "A warm-up that covers the shapes of the run avoids it.",
        f"{REPLICA} paused 2 times, 1.6 s in all; the longest pause took 1.25 s, from 31.0 s.",
        "device 3: throttled by power, 5 s in all, from 40.0 s.",
    ):
        assert sentence in told, told
    assert not any("others use" in line or "while it loads" in line for line in told)
