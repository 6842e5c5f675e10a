"""What a tuning asks of LoadGen beyond what user.conf says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.tune.tuning import Tuning, Wish, missing_settings
from harness_llm.views.live import make_view

if TYPE_CHECKING:
    from pathlib import Path

    from own_benchmark import Setup

MODEL = "llama2-70b"


@pytest.mark.parametrize(
    ("line", "scenario", "is_official", "missing"),
    [
        ("", Scenario.SERVER, False, {"target_qps", "min_query_count"}),
        (f"{MODEL}.Server.target_qps = 3", Scenario.SERVER, False, {"min_query_count"}),
        ("*.Server.min_query_count = 500", Scenario.SERVER, False, {"target_qps"}),
        ("", Scenario.SERVER, True, {"target_qps"}),  # mlperf.conf has the rules' own count
        ("", Scenario.OFFLINE, False, {"target_qps"}),  # no latency, no early stopping
    ],
)
def test_what_user_conf_does_not_say_is_added(
    line: str, scenario: Scenario, is_official: bool, missing: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "user.conf"
    path.write_text(f"*.*.min_duration = 1000\n{line}\n", encoding="utf-8")
    added = missing_settings(UserConf.read(path), MODEL, scenario, is_official=is_official)
    assert set(added) == missing
    assert max_over_limit(added.get("min_query_count", 838)) == 2, (
        "LoadGen can call it VALID, and forgives two"
    )


def test_one_budget_counts_from_the_command_on() -> None:
    wish = Wish(budget_s=60.0)
    assert wish.stops() == ""
    late = replace(wish, started_s=wish.started_s - 61, known=())
    assert late.is_spent and late.stops() == replace(late, tries=()).stops() == "the budget is spent"
    assert replace(wish, dry_run=True).stops() == "a dry run"


def test_loadgen_is_told_what_was_added(setup: Setup, tmp_path: Path) -> None:
    tuning = Tuning(setup.config("Server"), tmp_path, Wish(), make_view("", style="none"))
    (test,) = tuning._prepared().tests
    assert "mine.Server.min_query_count = 838" in test.user_conf and test.target_qps == 7
