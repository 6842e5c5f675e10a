"""`tune` and `simulate` by the command line, on LoadGen and an engine that batches."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from runs import Run

from harness_llm.results.paths import STUDY_JSON

if TYPE_CHECKING:
    from pathlib import Path

USER_CONF = """\
sim.*.use_token_latencies = 1
sim.Server.ttft_latency = 600
sim.Server.tpot_latency = 60
sim.Server.min_duration = 20000
sim.Server.min_query_count = 120
sim.Server.sample_concatenate_permutation = 1
sim.Offline.min_duration = 20000
"""
BATCHING = {"step_tokens": 512, "weights_ms": 25, "token_ms": 0.3, "host_ms": 2, "noise": 0.01}


def _tuning(folder: Path, scenario: str) -> Run:
    engine = {"kind": "simulated", "concurrent": 64, "batching": BATCHING}
    return Run(folder, USER_CONF, {"scenarios": [scenario], "engine": engine})


def _as_tune(run: Run, *more: str) -> list[str]:
    """The command line of a run, as one of `tune`."""
    command = run.command
    at = command.index("run")
    config = command[command.index("--config") + 1]
    return [*command[:at], "tune", "--config", config, "--output", str(run.output), "--view", "plain", *more]


@pytest.mark.long
@pytest.mark.parametrize("scenario", ["Server", "Offline"])
def test_a_rate_is_found_from_nothing_but_the_limits(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _tuning(tmp_path, scenario)
    command = _as_tune(run)
    monkeypatch.setattr(Run, "command", command)
    code, errors = run.complete(seconds=400)
    assert code == 0, errors + run.out
    run.assert_nothing_is_left()
    result = run.output / "runs" / "result"
    test = json.loads((result / scenario / "performance" / "test.json").read_text())
    assert (test["state"], run.json(STUDY_JSON)["state"]) == ("complete", "complete")
    assert "Result is : VALID" in (result / scenario / "performance" / "mlperf_log_summary.txt").read_text()
    conf = (run.output / "user.conf").read_text()
    assert f"sim.{scenario}.target_qps = {test['target_qps']!r}" in conf
    tries = sorted((run.output / "tries").iterdir())
    states = {json.loads((each / "test.json").read_text())["state"] for each in tries}
    assert len(tries) >= 1 and states <= {"abandoned", "complete"}
    assert len(list((result / "replicas").glob("*/*/facts.json"))) == 1, "one load"
    again = run.complete()
    assert again[0] == 0 and "VALID with target_qps" in run.out, (
        "a tuning that is complete says so, and measures nothing"
    )
    if scenario == "Server":
        _check_simulated(run, result, monkeypatch)


@pytest.mark.long
def test_a_killed_tuning_continues_and_others_learn_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _tuning(tmp_path, "Server")
    # of fewer queries none may be late, so that one pause that the engine is thought to make decides
    run.user_conf = USER_CONF.replace("min_query_count = 120", "min_query_count = 700")
    command = _as_tune(run)
    monkeypatch.setattr(Run, "command", command)
    run.start()
    tries = run.output / "tries"
    run.wait_until(lambda: (tries / "2" / "test.json").exists(), 120)
    assert run.process is not None
    run.process.kill()
    run.wait()
    run.assert_nothing_is_left(20)
    begun = {each.name: json.loads((each / "test.json").read_text()) for each in tries.iterdir()}
    code, errors = run.complete(seconds=400)
    assert code == 0, errors + run.out
    after = {each.name: json.loads((each / "test.json").read_text()) for each in tries.iterdir()}
    assert {name: after[name] for name in begun} == begun, "what was tried is not tried again"
    ramp = [each["target_qps"] for each in after.values() if each["reason"] == "ramp"]
    assert len(ramp) == len(set(ramp)) >= 2

    result = run.output / "runs" / "result"
    monkeypatch.setattr(Run, "output", tmp_path / "second")
    more = ["--from", str(result), "--dry-run", "--json"]
    known = [*command, *more]
    known[known.index("--output") + 1] = str(tmp_path / "second")
    monkeypatch.setattr(Run, "command", known)
    code, errors = run.complete()
    assert code == 0, errors
    rate = json.loads((result / "Server" / "performance" / "test.json").read_text())["target_qps"]
    assert json.loads(run.out)["found"]["qps"] == pytest.approx(rate, rel=0.15)
    assert not (tmp_path / "second" / "tries").exists(), "nothing was measured"


@pytest.mark.long
def test_arguments_are_compared_and_the_best_is_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _tuning(tmp_path, "Server")
    run.user_conf = USER_CONF.replace("min_query_count = 120", "min_query_count = 480")
    run.harness["engine"] = {"kind": "simulated", "concurrent": 4, "batching": BATCHING}
    command = _as_tune(run, "--try", "max_num_seqs=1,32", "--json")
    monkeypatch.setattr(Run, "command", command)
    code, errors = run.complete(seconds=500)
    assert code == 0, errors + run.out
    found = json.loads(run.out)
    best, configured, worst = found["arguments"]
    assert [one["label"] for one in (best, configured, worst)] == [
        "max_num_seqs=32", "as configured", "max_num_seqs=1",
    ]  # fmt: skip
    assert worst["qps"] is None and best["qps"] > 1.5 * configured["qps"], "the worst was not loaded"
    assert 0.1 < best["ttft"] < 2, "at a rate that what is configured holds, neither keeps queries waiting"
    config = (run.output / "runs" / "result" / "config" / "Server.yaml").read_text()
    assert "concurrent: 32" in config
    assert found["target_qps"] > configured["qps"]


def _check_simulated(run: Run, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run, predicted from its own step times; and a fleet of twice the size."""

    def simulated(*more: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "harness_llm", "simulate", str(result), *more, "--json"]
        monkeypatch.setattr(Run, "command", command)
        assert run.complete()[0] == 0
        found: dict[str, Any] = json.loads(run.out)["predictions"]
        return found

    both = simulated("--check", str(result))
    said, seen = both["predicted"], both["measured"]
    assert said["tokens_per_s"] == pytest.approx(seen["tokens_per_s"], rel=0.03)
    assert said["tpot_s"][1] == pytest.approx(seen["tpot_s"][1], rel=0.1)
    names = {1: "as recorded", 2: "replicas=2"}
    one, two = (simulated("--max", "--replicas", str(count))[name]["qps"] for count, name in names.items())
    assert 1.8 * one < two < 4 * one, "two share what one waits for, and of more queries more may be late"
    ranked = simulated("--max", "--set", "max_num_seqs=1,64")
    assert list(ranked) == ["max_num_seqs=64"], "one alone is VALID at no rate"
    alone, both = (simulated("--offline", "--replicas", str(count))[name] for count, name in names.items())
    assert 1.8 * alone["tokens_per_s"] < both["tokens_per_s"] < 2.1 * alone["tokens_per_s"]


def test_limits_that_are_missing_are_said_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interactive's model has another name for LoadGen, so lines of the plain one say nothing about it."""
    run = _tuning(tmp_path, "Interactive")
    monkeypatch.setattr(Run, "command", _as_tune(run))
    code, errors = run.complete()
    assert code == 2
    assert (
        "no use_token_latencies and no ttft_latency and no tpot_latency for sim-interactive.Server" in errors
    )
    assert "sim-interactive.Server.ttft_latency = …" in errors


def test_mistakes_are_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _tuning(tmp_path, "Server")
    command = _as_tune(run)
    for more, wanted in (
        (("--budget", "soon"), "--budget soon: not a length of time"),
        (("--try", "max_num_seqs=x"), "--try max_num_seqs=x: not whole numbers above 0"),
        (("--try", "harness_config.no_such_thing=1"), "no_such_thing"),
        (("--from", str(tmp_path)), "not a run folder"),
    ):
        monkeypatch.setattr(Run, "command", [*command, *more])
        code, errors = run.complete()
        assert code == 2 and re.search(wanted, errors), errors
