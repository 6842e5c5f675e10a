"""Recommendations against truth: a card with a known best cap, noise, ties, and files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness_llm.errors import FolderError
from harness_llm.power.power_report import write_power_report
from harness_llm.power.recommendation import (
    Choice,
    choices_of,
    notes_on,
    read_stats,
    recommend,
)
from harness_llm.power.stats_files import INFERENCE_COLUMNS, TRAINING_COLUMNS, as_csv
from harness_llm.telemetry.sources import SimulatedCard

CAPS = (250, 325, 400, 475, 550, 625, 700)
Row = dict[str, Any]


def _truth(cap: float) -> tuple[float, float]:
    """Tokens/s and watts of the simulated card at full work."""
    speed = SimulatedCard.speed(cap)
    return 1000 * speed, SimulatedCard.IDLE_W + SimulatedCard.BASE_W + SimulatedCard.CUBE_W * speed**3


def _rows(random: np.random.Generator, caps: Any = CAPS, trials: int = 3, noise: float = 0.02) -> list[Row]:
    rows: list[Row] = []
    for trial in range(1, trials + 1):
        for cap in caps:
            rate, watts = _truth(cap)
            seconds = 20
            tokens = rate * (1 + noise * random.standard_normal(seconds))
            joules = watts * (1 + noise * random.standard_normal(seconds))
            rows += [
                {
                    "timestamp": f"2026-01-01T00:{trial:02}:{second:02}",
                    "max_watt": cap,
                    "trial": trial,
                    "tokens_per_sec": tokens[second],
                    "power_draw": joules[second],
                    "window_tokens": tokens.sum(),
                    "window_seconds": seconds,
                    "window_energy_j": joules.sum(),
                    "cap_binding": float(cap < 700),
                    "schema": 1,
                }
                for second in range(seconds)
            ]
    return rows


def _choices(rows: list[Row]) -> list[Choice]:
    return choices_of([{key: str(value) for key, value in row.items()} for row in rows])


def _joules(cap: float) -> float:
    rate, watts = _truth(cap)
    return watts / rate


def test_the_best_cap_is_found_within_a_step_in_100_of_100_and_its_interval_is_honest() -> None:
    best = min(CAPS, key=_joules)
    assert best not in (CAPS[0], CAPS[-1])  # there is something to find
    near = inside = 0
    for seed in range(100):
        choices = _choices(_rows(np.random.default_rng(seed)))
        advice = recommend(choices)
        assert advice.choice is not None
        near += abs(CAPS.index(int(advice.choice.value)) - CAPS.index(best)) <= 1
        joules = choices[CAPS.index(best)].joules
        assert joules is not None and joules.low is not None and joules.high is not None
        inside += joules.low <= _joules(best) <= joules.high
    assert near == 100
    assert 90 <= inside <= 99


def test_of_settings_that_cannot_be_told_apart_the_fastest_is_taken() -> None:
    energies = {300: (1.0, 1.02, 0.99), 400: (1.01, 1.0, 1.0), 500: (2.0, 2.1, 2.0)}
    choices = [Choice(cap, True, energy, (cap, cap, cap), 1.0, 1.0) for cap, energy in energies.items()]
    advice = recommend(choices)
    assert advice.choice is choices[1] and advice.tied == (choices[0], choices[1])
    assert "not told apart from it: 300 W" in advice.words
    assert "20.0% slower than 500 W" in advice.words


def test_objectives_differ_as_they_should() -> None:
    rows = _rows(np.random.default_rng(0), noise=0.001)
    choices = _choices(rows)
    chosen = {
        name: recommend(choices, name).choice.value  # type: ignore[arg-type, union-attr]
        for name in ("energy", "edp", "cost", "slowdown")
    }
    assert chosen["energy"] <= chosen["cost"] <= 700 and chosen["energy"] < chosen["edp"]
    fastest = max(it.tokens_per_s.value for it in choices)
    limited = recommend(choices, "slowdown").choice
    assert limited is not None and limited.tokens_per_s.value >= 0.95 * fastest


def test_a_setting_that_was_ever_invalid_is_never_recommended_by_slo() -> None:
    rows = _rows(np.random.default_rng(0))
    for row in rows:
        row["verdict"] = (
            "VALID" if row["max_watt"] >= 550 or (row["max_watt"], row["trial"]) == (475, 1) else "INVALID"
        )
    advice = recommend(_choices(rows), "slo")
    assert advice.choice is not None and advice.choice.value == 550
    for row in rows:
        row["verdict"] = "VALID" if row["max_watt"] == 700 else "INVALID"
    assert recommend(_choices(rows), "slo").words == "700 W: the only setting that was VALID in each trial"
    for row in rows:
        row["verdict"] = "INVALID"
    none = recommend(_choices(rows), "slo")
    assert none.choice is None and "no setting was VALID in each trial" in none.words


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"max_watt": 300, "trial": 1, "tokens_per_sec": 5}], "one setting was measured"),
        ([{"max_watt": cap, "trial": 1, "tokens_per_sec": 5} for cap in (1, 2)], "no power was measured"),
        ([{"max_watt": "nan", "tokens_per_sec": "x"}], "one setting was measured"),
    ],
)
def test_where_nothing_can_be_recommended_it_says_why(rows: list[Row], said: str) -> None:
    advice = recommend(_choices(rows))
    assert advice.choice is None and said in advice.words


def test_hot_trials_and_caps_that_do_not_bind_are_said() -> None:
    rows = _rows(np.random.default_rng(0), caps=(300, 700))
    for row in rows:
        row["reasons"] = "thermal" if row["max_watt"] == 300 else ""
    choices = _choices(rows)
    alone = recommend(choices)
    assert alone.choice is None
    assert "the energy of only one setting is sound (heat slowed the cards)" in alone.words
    notes = " | ".join(notes_on(choices))
    assert "300 W: heat slowed the cards, so that the energy does not count" in notes
    assert "700 W: the cap never limited" in notes


def test_a_setting_whose_energy_is_not_sound_is_compared_with_nothing(tmp_path: Path) -> None:
    rows = _rows(np.random.default_rng(0), caps=(250, 400, 550, 700))
    for row in rows:
        row["reasons"] = "sampling_gap" if row["max_watt"] in (250, 700) else ""
    (tmp_path / "inference_stats.csv").write_text(as_csv(INFERENCE_COLUMNS, rows))
    (tmp_path / "training_stats.csv").write_text(as_csv(TRAINING_COLUMNS, []))
    lines = write_power_report(tmp_path)
    assert "550 W" in lines[0] and "250 W" not in lines[0] and "700 W" not in lines[0]
    assert not any("front" in line for line in lines), "both sound ones are on it: there is no other"
    page, png = (tmp_path / "report.html").read_text(), (tmp_path / "report.png").read_bytes()
    assert "(Inference)" in page and "(Training)" not in page, "no charts of what was not measured"
    assert int.from_bytes(png[16:20], "big") < 1500, "the picture has one column"


def test_files_of_the_published_scripts_are_read_and_recommended_from(tmp_path: Path) -> None:
    settings = [(150, 50, 140, 9), (200, 80, 180, 6), (300, 90, 290, 5)]
    rows = [
        {"timestamp": f"2024-06-01 10:{minute:02}:{second:02}", "tokens_per_sec": rate, "power_draw": watts,
         "temperature": 60, "max_watt": cap, "total_power_draw": 2 * watts}
        for minute, (cap, rate, watts, step) in enumerate(settings)
        for second in range(0, 6 * step, step)
    ]  # fmt: skip
    columns = ["timestamp", "tokens_per_sec", "power_draw", "temperature", "max_watt", "total_power_draw"]
    (tmp_path / "inference_stats.csv").write_text(as_csv(columns, rows))
    read = read_stats(tmp_path / "inference_stats.csv")
    advice = recommend(choices_of(read))
    assert advice.choice is not None and advice.choice.value == 200
    assert "chance may have chosen it" in advice.words


def _write(folder: Path, text: str) -> None:
    (folder / "inference_stats.csv").write_text(text)
    (folder / "training_stats.csv").write_text(as_csv(TRAINING_COLUMNS, []))


@pytest.mark.parametrize(
    ("columns", "row", "count"),
    [
        ("\ufefftokens_per_sec,max_watt", "{rate},{cap}", 1),
        ("timestamp,tokens_per_sec,max_watt", ",{rate},{cap}", 2),
        ("timestamp,tokens_per_sec,max_watt,schema", "2024/05/01 00:00:0{n}.250,{rate},{cap},1.0", 2),
    ],
)
def test_files_of_other_tools_have_energy_by_total_power_with_or_without_times(
    tmp_path: Path, columns: str, row: str, count: int
) -> None:
    lines = [
        f"{row.format(rate=rate, cap=cap, n=n)},{watts}"
        for cap, rate, watts in ((150, 50, 280), (200, 80, 360), (300, 90, 580))
        for n in range(count)
    ]
    _write(tmp_path, "\n".join([f"{columns},total_power_draw", *lines]))
    lines = write_power_report(tmp_path)
    assert lines[0].startswith("Inference: 200 W: 4.5 J/token") and (tmp_path / "report.png").exists()
    assert not any("No power" in line for line in lines)
    page = (tmp_path / "report.html").read_text()
    assert "Energy is the cards" in page and "energy counter" not in page and "360" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_watt,tokens_per_sec\n150W,5\n", r":2: max_watt: must be a number, found '150W'"),
        ("max_watt,tokens_per_sec,power_draw\n150,5,9\n150,5,-5\n", ":3: power_draw: must not be negative"),
        ("max_watt,tokens_per_sec\n150,inf\n", ":2: tokens_per_sec: must not be negative or infinite"),
        ("max_watt,tokens_per_sec\n150,5\n300", ":3: more or fewer cells than there are columns"),
        ("max_watt,tokens_per_sec\n150,5,6\n", ":2: more or fewer cells"),
        ("max_watt,tokens_per_sec,timestamp\n150,5,noon\n", ":2: timestamp: must be a time .* found 'noon'"),
        ("max_watt,tokens_per_sec,schema\n150,5,x\n", ":2: schema: must be a number"),
        (
            "max_watt;tokens_per_sec\n150;5\n",
            "needs the columns tokens_per_sec and max_watt, found max_watt;t",
        ),
        ("a,b\n1,2\n", "needs the columns tokens_per_sec and max_watt, found a, b"),
        ("", "found none"),
        (f"max_watt,tokens_per_sec\n150,{'5' * 140_000}\n", "cannot be read after line 1: field larger"),
    ],
)
def test_a_row_or_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    _write(tmp_path, text)
    with pytest.raises(FolderError, match=said) as found:
        write_power_report(tmp_path)
    assert "inference_stats.csv" in str(found.value)


def test_the_report_has_the_published_charts_and_sentences(tmp_path: Path) -> None:
    rows = _rows(np.random.default_rng(0), caps=(250, 400, 700))
    for row in rows:
        row["temperature"] = 50
    (tmp_path / "inference_stats.csv").write_text(as_csv(INFERENCE_COLUMNS, rows))
    (tmp_path / "training_stats.csv").write_text(as_csv(TRAINING_COLUMNS, rows))
    lines = write_power_report(tmp_path)
    assert [line.partition(":")[0] for line in lines[:2]] == ["Inference", "Training"]
    assert "not told apart from it: 250 W" in lines[0] and "Inference: 400 W: " in lines[0]
    png, page = (tmp_path / "report.png").read_bytes(), (tmp_path / "report.html").read_text()
    assert png.startswith(b"\x89PNG") and len(png) > 50_000 and len(page) < 1_000_000
    assert int.from_bytes(png[16:20], "big") > 1500, "two columns"
    for what in ("Tokens per Second", "Temperature", "GPU Utilization", "Memory Utilization", "Total Time"):
        for scenario in ("Inference", "Training"):
            assert f"Max Power vs. {what} ({scenario})" in page
    assert "<script" not in page and "not MLPerf Power" in page
    summary = read_stats(tmp_path / "training_summary.csv")
    assert [row["max_watt"] for row in summary] == ["250", "400", "700"]
    watts, seconds = _truth(400)[1], 20
    assert float(summary[1]["energy_consumption_watt_min"]) == pytest.approx(watts * seconds / 60, rel=0.02)


def test_a_file_that_is_not_there_or_newer_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="cannot be read") as found:
        read_stats(tmp_path / "training_stats.csv")
    assert "process_experiment_data.py" in found.value.remedy
    (tmp_path / "new.csv").write_text("max_watt,schema\n300,99\n")
    with pytest.raises(FolderError, match="newer version"):
        read_stats(tmp_path / "new.csv")
