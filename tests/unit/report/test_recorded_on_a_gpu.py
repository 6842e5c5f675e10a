"""What is made of a run recorded on a card: the power that it drew, and what slowed it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from golden.recorded import unpack_run
from msgspec.structs import replace

from harness_llm.report.charts import charts
from harness_llm.report.measured import Measured
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
    assert (
        "throttled by power, 61 s in all, from 0.0 s." in text
    )  # of the test's 60.7 s, not of the 80 s of all
    assert "made-up weights" in text


def _panels(measured: Measured) -> dict[str, list[dict[str, float]]]:
    """The points of each panel over time, by its title."""
    panels = charts(measured)["time"]["vconcat"]
    return {panel["title"]["text"]: panel.get("data", {}).get("values", []) for panel in panels}


@pytest.mark.parametrize("name", TESTS)
def test_what_the_card_told_is_drawn_over_the_time_of_the_test(name: str, tmp_path: Path) -> None:
    run = unpack_run(name, tmp_path)
    panels = _panels(Measured.read(run / TESTS[name] / "performance"))
    drawn = ["Power, W", "Clock, MHz", "Temperature, °C", "KV cache in use, %", "Cores in use"]
    assert list(panels)[-len(drawn) :] == drawn
    watts = [point["value"] for point in panels["Power, W"]]
    told = [device.watts for device in _while_it_ran(run, TESTS[name])]
    assert len(watts) > 50
    assert all(min(abs(each - other) for other in told) < 0.06 for each in watts)
    assert max(point["value"] for point in panels["KV cache in use, %"]) <= 100


def test_a_page_of_many_cards_and_hours_stays_small(tmp_path: Path) -> None:
    run = unpack_run("server_h100", tmp_path)
    measured = Measured.read(run / "Server" / "performance")
    cards = 64
    (first, *_), ran = measured.live_while_it_ran[0].devices, measured.live_while_it_ran
    more = [
        replace(
            record,
            devices=tuple(replace(first, index=card, at_s=record.at_s + part / 100) for card in range(cards)),
        )
        for record in ran
        for part in range(100)
    ]
    measured.__dict__["live_while_it_ran"] = more
    panels = _panels(measured)
    assert {point["of"] for point in panels["Power, W"]} == set(range(cards))
    assert len(panels["Power, W"]) <= 5000
    assert {round(point["value"], 1) for point in panels["Power, W"]} == {round(first.watts, 1)}
