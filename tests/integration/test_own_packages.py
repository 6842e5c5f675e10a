"""Own packages of every benchmark of every round, closed and open: accepted by both checkers.

The official checker is that of a checkout of mlcommons/inference, named in OFFICIAL_INFERENCE (a folder
called `inference`); without it, `check` judges alone. The logs are made up (golden/remade.py). `package`
refuses simulated runs in closed, so the run folders say what a run on a real engine would say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from golden.remade import Remade
from golden.run_folder import write_test
from run_maker import Maker

from harness_llm import rules
from harness_llm.check import check_tree
from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.results.accuracy_txt import scores_line
from harness_llm.results.paths import FACTS_JSON, RUN_JSON, replica_folder

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

OFFICIAL = os.environ.get("OFFICIAL_INFERENCE")
TOKENS = {"llama3.1-8b": 100}
SAMPLING = {"override_generation_config": {"temperature": 1.0, "top_p": 1.0, "top_k": 0}}


def _tokens(known: rules.BenchmarkRules, test: str) -> int:
    """Tokens of an answer: the middle of the window that the test is judged by."""
    for row in known.tests.values():
        if test != "accuracy" and row.tokens_per_sample is not None:
            return int((row.tokens_per_sample["low"] + row.tokens_per_sample["high"]) / 2)
    window = known.length
    if window.metric != "tokens_per_sample":
        return TOKENS[known.name]
    return int((window.low + window.high) / 2) if window.low is not None else 1200


def _run_folder(maker: Maker, known: rules.BenchmarkRules) -> Path:
    folder = maker.path / f"run_{known.name}"
    scenarios = [scenario for scenario in Scenario if scenario in known.row.allowed]
    tests = ("performance", "accuracy", *known.row.compliance)
    (folder / "config").mkdir(parents=True)
    record = {
        "format": 2, "benchmark": known.name, "official": True, "simulated": False, "state": "complete",
        "started_utc": "2026-01-01T00:00:00Z", "command": ["harness-llm", "run", "--config", "a.yaml"],
        "git": {"commit": maker.commit, "dirty": False, "changed": []}, "packages": {"vllm": "0.25.1"},
        "host": {}, "accelerators": [], "tests": [f"{case}/{test}" for case in scenarios for test in tests],
        "dataset": _samples(folder / "samples.npz", known, Mode.PERFORMANCE, known.samples.performance),
        "test_datasets": {
            "accuracy": _samples(folder / "accuracy.npz", known, Mode.ACCURACY, known.samples.accuracy)
        },
    }  # fmt: skip
    (folder / RUN_JSON).write_text(json.dumps(record))
    arguments = {
        "model": "/model/weights",
        "dtype": "bfloat16",
        **({} if known.generation.greedy else SAMPLING),
    }
    for scenario in scenarios:
        (folder / "config" / f"{scenario}.yaml").write_text(
            json.dumps({"llm_config": arguments, "harness_config": {}})
        )
        facts = replica_folder(folder, scenario, 0)
        facts.mkdir(parents=True)
        (facts / FACTS_JSON).write_text(
            json.dumps({"name": "vllm", "version": "0.25.1", "is_simulated": False})
        )
        for test in tests:
            _write_test(folder / scenario / test, Remade(known, scenario, test, _tokens(known, test)))
    return folder


def _samples(path: Path, known: rules.BenchmarkRules, mode: Mode, count: int) -> dict[str, object]:
    table = SampleTable.from_prompts(
        "official", [[1, 2, 3]] * count, max_tokens=known.output_limit(mode), min_tokens=2
    )
    table.save(path)
    return {"name": "official", "samples": count, "digest": table.digest, "source": "x", "file": path.name}


def _write_test(place: Path, made: Remade) -> None:
    made.write(place)
    model = made.known.loadgen_model(made.scenario)
    write_test(place, made.scenario, loadgen_model=model, mode=made.mode, target_qps=made.qps)
    if made.test == "accuracy":
        known, window = made.known, made.known.length
        scores = {row.metric: row.reference for row in known.accuracy}
        characters = (
            int((window.low + window.high) / 2) if window.metric == "gen_len" and window.low else None
        )
        extra = {"gen_len": characters} if characters else {}
        numbers = {**scores, **extra, "tokens_per_sample": float(made.tokens)}
        (place / "accuracy.txt").write_text(scores_line(numbers) + "\n")
        record = {
            "metric": "rouge", "scores": scores, "gates": {row.metric: row.gate for row in known.accuracy},
            "passed": True, "tokens_per_sample": float(made.tokens), "samples": made.answers, **extra,
        }  # fmt: skip
        (place / "accuracy.json").write_text(json.dumps(record))
    elif made.test == "TEST06":
        first = "Skipped" if made.scenario is Scenario.OFFLINE else "True"
        lines = (f"First token check pass: {first}", "EOS check pass: True", "Sample length check pass: True")
        (place / "verify_accuracy.txt").write_text("\n".join(lines) + "\n")
    elif made.test in rules.table().tests:
        (place / rules.compliance_test(made.test).result_file).write_text("TEST PASS\n")


def _official(tree: Path, round_name: str) -> tuple[bool, list[str]]:
    assert OFFICIAL is not None
    checker = "inference.tools.submission.submission_checker.main"
    command = [sys.executable, "-m", checker, "--input", str(tree), "--version", round_name]
    done = subprocess.run(
        [*command, "--csv", str(tree.parent / "summary.csv")], cwd=Path(OFFICIAL).parent, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    errors = [line for line in said.splitlines() if re.search("ERROR|Error", line)]
    return done.returncode == 0 and "SUMMARY: submission looks OK" in said, errors[:10]


@pytest.mark.parametrize("division", ["closed", "open"])
@pytest.mark.parametrize("round_name", rules.rounds())
def test_every_benchmark_of_a_round_is_accepted_by_both(
    tmp_path: Path, round_name: str, division: str
) -> None:
    maker = Maker(tmp_path)
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "bandwidth.md").write_text("Bandwidth of each NIC: 400 Gbit/s, 8 NICs.\n")
    benchmarks = [known for name in rules.table().benchmarks if (known := rules.lookup(name, round_name))]
    assert len(benchmarks) >= 4
    tree = None
    for known in benchmarks:
        run = _run_folder(maker, known)
        tree = maker.package(run, division=division, round=round_name, documentation=documents).tree
        shutil.rmtree(run)
    assert tree is not None
    report = check_tree(tree, round_name)
    assert len(report.results) == sum(len(known.row.allowed) for known in benchmarks)
    broken = {
        f"{check.name}: {check.found}; required: {check.required} [{check.path}]" for check in report.failures
    }
    assert not broken, "\n".join(sorted(broken)[:30])
    assert report.passed and report.label == "official"
    if OFFICIAL:
        accepted, errors = _official(tree, round_name)
        assert accepted, "\n".join(errors)


@pytest.mark.skipif(OFFICIAL is None, reason="OFFICIAL_INFERENCE names no checkout of mlcommons/inference")
@pytest.mark.parametrize("round_name", rules.rounds())
def test_the_table_has_the_official_checkers_constants(round_name: str) -> None:
    assert OFFICIAL is not None
    program = (
        "import json, sys; from inference.tools.submission.submission_checker import constants as c; "
        "print(json.dumps([c.MODEL_CONFIG[sys.argv[1]], c.LLM_LATENCY_LIMITS, c.OFFLINE_MIN_SPQ_SINCE_V4, "
        "c.MAX_ACCURACY_LOG_SIZE, c.TEST_DURATION_MS, c.TEST09_LOW, c.TEST09_HIGH]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, round_name],
        cwd=Path(OFFICIAL).parent,
        capture_output=True,
        check=True,
    )
    config, limits, offline, log_bytes, duration, low, high = json.loads(done.stdout)
    run, seeds = rules.table().run, rules.round_seeds(round_name)
    assert (run.max_accuracy_log_bytes.value, run.min_duration_ms.value) == (log_bytes, duration)
    assert rules.compliance_test("TEST09").tokens_per_sample == {"low": low, "high": high}
    assert seeds.as_settings() == config["seeds"]
    judged = 0
    for name in config["models"]:
        known = rules.lookup(name, round_name)
        if known is None:
            assert rules.is_other_official(name, round_name), name
            continue
        judged += 1
        counts = known.samples
        accuracy = config["accuracy-sample-count"].get(name, config["dataset-size"].get(name))
        assert (counts.performance, counts.accuracy, counts.offline_minimum) == (
            config["performance-sample-count"][name], accuracy, offline[name],
        )  # fmt: skip
        targets = config["accuracy-target"][name]
        gates = [(row.reference * row.factor) for row in known.accuracy]
        scores = {targets[at]: targets[at + 1] for at in range(0, len(targets), 2)}
        lower = {key: scores.pop(key) for key in ("TOKENS_PER_SAMPLE", "GEN_LEN") if key in scores}
        assert sorted(gates) == pytest.approx(sorted(scores.values()))
        assert list(lower.values()) == pytest.approx([known.length.low] if known.length.low else [])
        assert config["accuracy-upper-limit"][name][1] == pytest.approx(known.length.high)
        official_limits = {
            scenario: {"ttft": row.ttft_ns, "tpot": row.tpot_ns} for scenario, row in known.latency.items()
        }
        assert {key: limits[name][key] for key in official_limits} == official_limits
        tests = [test for test in rules.table().tests if name in config.get(f"models_{test}", ())]
        assert list(known.row.compliance) == tests
        required = set(config["required-scenarios-datacenter"][name])
        optional = set(config["optional-scenarios-datacenter"].get(name, ()))
        assert set(known.row.required) == required
        assert set(known.row.allowed) == required | optional
    assert judged >= 4
