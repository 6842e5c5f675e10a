"""What is made of a run recorded on a card: the power that it drew, and what slowed it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from golden.recorded import unpack_run

from harness_llm.results.live_records import LiveRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness_llm.results.live_records import DeviceState

    Command = Callable[..., tuple[int, str, str]]

TESTS = {"server_h100": "Server", "offline_h100": "Offline"}


def _while_it_ran(run: Path, scenario: str) -> list[DeviceState]:
    """The card in every second in which LoadGen ran for the last time."""
    lines = (run / "live.jsonl").read_bytes().splitlines()
    records = [msgspec.json.decode(line, type=LiveRecord) for line in lines]
    name = f"{scenario}/performance"
    ran = [
        (test.began_at_s, record.devices[0])
        for record in records
        for test in record.tests
        if test.name == name and test.stage == "LoadGen runs" and record.devices
    ]
    return [device for began_s, device in ran if began_s == ran[-1][0]]


@pytest.mark.parametrize("name", TESTS)
def test_energy_by_counter_and_by_integration_agree(name: str, tmp_path: Path, command: Command) -> None:
    run = unpack_run(name, tmp_path)
    (scenario,) = json.loads(command("show", run, "--json")[1])["scenarios"]
    joules = scenario["joules_per_token"]
    assert joules["counter"] == pytest.approx(joules["integral"], rel=0.01)
    seen = _while_it_ran(run, TESTS[name])
    assert len(seen) > 50 and {device.name for device in seen} == {"NVIDIA H100 80GB HBM3"}
    whole = seen[-1].counter_j - seen[0].counter_j
    tokens = scenario["tokens_per_s"] * scenario["seconds"]
    assert whole / tokens == pytest.approx(joules["counter"], rel=0.05)  # the steady part against the whole
    assert 500 < whole / (seen[-1].at_s - seen[0].at_s) < 700  # watts: near the card's limit of 700


def test_the_page_names_the_card_its_energy_and_that_power_slowed_it(
    tmp_path: Path, command: Command
) -> None:
    run = unpack_run("server_h100", tmp_path)
    page = tmp_path / "report.html"
    assert command("report", run, "-o", page)[0] == 0
    text = re.sub(r"<[^>]+>", " ", page.read_text())
    assert "NVIDIA H100 80GB HBM3" in text
    assert "0.159" in text
    assert "throttled by power" in text
    assert "made-up weights" in text
