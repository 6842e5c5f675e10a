"""The rules of settings, of a plan as of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from golden.recorded import LOGS, unpack
from own_benchmark import Setup, synthetic

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = {"Offline": "llama2-offline", "Server": "llama2-server", "Interactive": "llama2-interactive"}
GPT = "gpt-oss-120b"


@pytest.mark.parametrize("scenario", RECORDED)
def test_what_is_planned_is_what_loadgen_logs(tmp_path: Path, scenario: str) -> None:
    """By a recorded log of real LoadGen and its user.conf: nobody judges a plan by other numbers."""
    folder = unpack(RECORDED[scenario], tmp_path)
    assert LOGS.is_dir()
    known = rules.lookup("llama2-70b-99.9")
    assert known is not None
    case = Case(
        tmp_path, known.name, Scenario(scenario), "v6.1", None, known, "run", folder, folder, folder,
        folder / "user.conf",
    )  # fmt: skip
    given = UserConf.read(folder / "user.conf").settings_for(case.loadgen_model, case.scenario)
    planned = rules.planned_settings(known, case.scenario, given)
    findings = list(rules.settings_findings(known, case.scenario, planned))
    assert len(findings) >= 6 and all(finding.passed for finding in findings)
    logged = case.logged
    if case.scenario is Scenario.OFFLINE:
        assert planned == logged
    else:  # LoadGen logs 1 sample a query there
        assert (planned.min_duration_ms, planned.loaded_samples, planned.ttft_ns, planned.tpot_ns) == (
            logged.min_duration_ms, logged.loaded_samples, logged.ttft_ns, logged.tpot_ns,
        )  # fmt: skip
    assert list(rules.settings_findings(known, case.scenario, logged)) == [
        finding if finding.name != "latency.percentile" else finding for finding in findings
    ]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("*.*.min_duration = 5000", "performance.min-duration"),
        (f"{GPT}.*.performance_sample_count_override = 100", "performance.sample-count"),
        (f"{GPT}.*.sample_concatenate_permutation = 0", "performance.equal-issue"),
        (f"{GPT}.*.use_token_latencies = 0", "performance.token-latencies"),
        ("*.*.performance_issue_unique = 1", "performance.no-audit"),
        ("*.*.max_query_count = 9000", "performance.no-audit"),
        ("*.*.max_duration = 900000", "performance.no-audit"),
        (f"{GPT}.Server.ttft_latency = 9000", "latency.limits"),
        (f"{GPT}.Server.target_latency_percentile = 90", "latency.percentile"),
    ],
)
def test_prepare_says_what_check_will_refuse(setup: Setup, line: str, name: str) -> None:
    setup.conf.write_text(f"{GPT}.Server.target_qps = 10\n{line}\n")
    config = setup.config("Server", benchmark=GPT, dataset=synthetic("6396:2:2"))
    notes = [note for note in prepare([config], ["performance"]).notes if "`check` refuses it as" in note]
    assert [note.rpartition(" ")[2] for note in notes] == [name]
    assert all("the rules of gpt-oss-120b ask for" in note for note in notes)


@pytest.mark.parametrize(
    ("rate", "count", "is_added"),
    [("9.6", "", True), ("9.7", "", False), ("5", "6396", False), ("5", "100", True), (None, "", True)],
)
def test_a_slow_offline_run_is_given_the_count_that_the_official_checker_asks_for(
    setup: Setup, rate: str | None, count: str, is_added: bool
) -> None:
    """mlperf.conf sets no min_query_count for gpt-oss-120b: below 9.7 samples/s 600 s ask for too few."""
    lines = [f"{GPT}.Offline.target_qps = {rate}"] if rate else []
    lines += [f"{GPT}.Offline.min_query_count = {count}"] if count else []
    setup.conf.write_text("\n".join(lines) + "\n")
    config = setup.config("Offline", benchmark=GPT, dataset=synthetic("6396:2:2"))
    prepared = prepare([config], ["performance"])
    (test,) = prepared.tests
    written = setup.folder / "written.conf"
    written.write_text(test.user_conf)
    given = UserConf.read(written).settings_for(GPT, Scenario.OFFLINE)
    assert (test.user_conf != prepared.user_conf.text) == is_added
    assert any("min_query_count = 6396 was added" in note for note in prepared.notes) == is_added
    known = rules.lookup(GPT)
    assert known is not None
    planned = rules.planned_settings(known, Scenario.OFFLINE, given)
    assert rules.samples_per_query(known, Scenario.OFFLINE, planned).passed
    assert test.expected == 6396 * (2 if rate == "9.7" else 1)


def test_a_rehearsal_over_few_samples_is_not_made_longer(setup: Setup) -> None:
    setup.conf.write_text(f"{GPT}.Offline.target_qps = 5\n")
    (test,) = prepare([setup.config("Offline", benchmark=GPT)], ["performance"]).tests
    assert "min_query_count" not in test.user_conf
