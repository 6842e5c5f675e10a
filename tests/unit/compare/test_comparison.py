from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from synthetic_run import Plan, simulate, write_events, write_run

from harness_llm.compare.comparison import Comparison, compare
from harness_llm.errors import FolderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


def by_turns(folder: Path, number: int, slower: float) -> Comparison:
    """Three pairs of runs, each with noise of its own."""
    arms: list[list[Path]] = [[], []]
    for turn in range(3):
        for arm, factor in enumerate((1.0, slower)):
            plan = Plan(noise=number * 10 + turn * 2 + arm, slower=factor)
            arms[arm].append(write_run(folder / f"{number}_{'AB'[arm]}{turn}", plan))
    (comparison,) = compare(arms)
    return comparison


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_slowdown_of_2_percent_is_found_and_equals_are_not_told_apart(tmp_path: Path) -> None:
    slowed = [by_turns(tmp_path, 100 + number, 1.02) for number in range(10)]
    equal = [by_turns(tmp_path, 200 + number, 1.0) for number in range(20)]
    assert [comparison.numbers[0].is_better for comparison in slowed] == [False] * 10
    assert sum(not comparison.numbers[0].is_told_apart for comparison in equal) >= 18


def test_three_pairs_find_a_slowdown_query_by_query(tmp_path: Path) -> None:
    comparison = by_turns(tmp_path, 1, 1.02)
    first = comparison.numbers[0]
    assert first.name == "TPOT mean, ms" and comparison.is_paired and comparison.pairs == 3
    assert first.is_better is False and "B is worse than A by TPOT mean, ms: +" in comparison.verdict
    assert first.change is not None and first.change > 0.015
    assert not any("One pair" in note for note in comparison.notes())


def test_three_pairs_of_equals_are_not_told_apart(tmp_path: Path) -> None:
    comparison = by_turns(tmp_path, 2, 1.0)
    assert comparison.numbers[0].is_better is None and comparison.verdict.startswith("not told apart")


def test_one_pair_says_what_it_cannot_know(tmp_path: Path) -> None:
    a, b = (
        write_run(tmp_path / name, Plan(noise=7, slower=slower)) for name, slower in (("a", 1), ("b", 1.1))
    )
    (comparison,) = compare([[a], [b]])
    assert comparison.numbers[0].is_better is False
    assert any("How far" in note or "how far" in note for note in comparison.notes())


def test_a_pair_too_short_for_blocks_of_time_is_not_told_apart(tmp_path: Path) -> None:
    plans = [Plan(queries=800, noise=7, slower=slower) for slower in (1, 1.5)]
    a, b = (write_run(tmp_path / str(number), plan) for number, plan in enumerate(plans))
    (comparison,) = compare([[a], [b]])
    assert comparison.numbers[0].interval is None
    assert "too short to tell" in comparison.verdict


def test_other_samples_are_not_paired_by_query(tmp_path: Path) -> None:
    events = simulate(Plan())
    shuffled = events.copy()
    shuffled["sample"] = np.roll(events["sample"], 1)
    a, b = (write_events(tmp_path / name, Plan(), rows) for name, rows in (("a", events), ("b", shuffled)))
    (comparison,) = compare([[a], [b]])
    assert not comparison.is_paired and any("other queries" in note for note in comparison.notes())


def test_what_was_run_otherwise_is_listed_first(tmp_path: Path, command: Command) -> None:
    a = write_run(tmp_path / "a", Plan())
    b = write_run(tmp_path / "b", Plan(noise=1), packages={"engine": "2"})
    config = b / "config" / "Server.yaml"
    config.write_text(config.read_text().replace("max_num_seqs: 1", "max_num_seqs: 2"))
    code, out, _ = command("compare", a, b)
    assert code == 0
    assert "configuration.llm_config.max_num_seqs: 1 -> 2" in out and "package.engine: 1 -> 2" in out
    assert out.index("otherwise") < out.index("TPOT mean")
    _, document, _ = command("compare", a, b, "--json")
    (found,) = json.loads(document)["comparisons"]
    assert {change["what"] for change in found["changed"]} == {
        "configuration.llm_config.max_num_seqs", "package.engine",
    }  # fmt: skip


def test_what_must_be_said_beside_the_numbers_of_each_side_is_said(tmp_path: Path, command: Command) -> None:
    a = write_run(tmp_path / "a", Plan(queries=800), marker="unofficial")
    b = write_run(tmp_path / "b", Plan(queries=800), marker="made-up weights; unofficial")
    _, out, _ = command("compare", a, b)
    assert f"A: {a} (unofficial)\nB: {b} (made-up weights; unofficial)\n" in out
    _, document, _ = command("compare", a, b, "--json")
    (found,) = json.loads(document)["comparisons"]
    assert found["markers"] == {"a": "unofficial", "b": "made-up weights; unofficial"}


@pytest.mark.parametrize(
    ("plan", "record", "why"),
    [
        (Plan(queries=800, qps=9.0), {}, "target_qps: 8.0"),
        (Plan(queries=800), {"benchmark": "other"}, "benchmark: toy"),
        (Plan(queries=800), {"simulated": True}, "simulated: False"),
    ],
)
def test_unlike_runs_are_refused_unless_forced(
    tmp_path: Path, command: Command, plan: Plan, record: dict[str, object], why: str
) -> None:
    a, b = write_run(tmp_path / "a", Plan(queries=800)), write_run(tmp_path / "b", plan, **record)
    code, _, err = command("compare", a, b)
    assert code == 2 and "unlike" in err and why in err
    code, out, _ = command("compare", a, b, "--force")
    assert code == 0 and why in out


def test_a_test_that_broke_is_no_side(tmp_path: Path) -> None:
    events = simulate(Plan(queries=800))
    a = write_events(tmp_path / "a", Plan(queries=800), events)
    events["status"][5] = 4
    b = write_events(tmp_path / "b", Plan(queries=800), events)
    with pytest.raises(FolderError, match="not every sample was answered"):
        compare([[a], [b]])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a"], "one run folder cannot be compared"),
        (["a", "b", "c", "--paired"], "3 run folders"),
        (["a", "b", "--set", "x=1"], "--set and --output are for --pairs"),
        (["a", "a", "--pairs", "2"], "fewer than two different"),
        (["a", "b"], "no run folder"),
    ],
)
def test_wrong_usage_is_told(command: Command, arguments: list[str], why: str) -> None:
    code, _, err = command("compare", *arguments)
    assert code == 2 and why in err
