"""The files of a packaged tree, round by round."""

from __future__ import annotations

import shutil

import pytest
from run_maker import Maker, files

from harness_llm.core import Scenario

SCENARIO_V6 = {
    "README.md",
    "TEST06/accuracy/mlperf_log_accuracy.json",
    "TEST06/performance/run_1/mlperf_log_detail.txt",
    "TEST06/performance/run_1/mlperf_log_summary.txt",
    "TEST06/verify_accuracy.txt",
    "accuracy/accuracy.txt",
    "accuracy/mlperf_log_accuracy.json",
    "accuracy/mlperf_log_detail.txt",
    "accuracy/mlperf_log_summary.txt",
    "measurements.json",
    "performance/run_1/mlperf_log_detail.txt",
    "performance/run_1/mlperf_log_summary.txt",
    "user.conf",
}


@pytest.mark.parametrize("round", ["v6.0", "v6.1"])
def test_the_closed_tree_of_v6(maker: Maker, round: str) -> None:
    result = maker.package(maker.run(round=round), division="closed", round=round)
    assert result.tree == maker.path / "out" / f"inference_results_{round}"
    (warning,) = result.warnings
    assert "bandwidth.md" in warning and "--documentation" in warning
    assert result.marks == ()
    base = "results/8xGPU/llama2-70b-99.9"
    scenarios = {f"{base}/{scenario}/{name}" for scenario in Scenario for name in SCENARIO_V6}
    source = f"src/llama2-70b-99.9/harness_llm-{maker.commit[:12]}/code/a.py"
    expected = scenarios | {source, "systems/8xGPU.json", "documentation/calibration.md"}
    assert set(files(result.tree / "closed" / "Org")) == expected
    assert [path.name for path in (maker.path / "out").iterdir()] == [result.tree.name]


def test_the_closed_tree_of_v5_1(maker: Maker) -> None:
    result = maker.package(maker.run(round="v5.1"), division="closed", round="v5.1")
    found = set(files(result.tree / "closed" / "Org"))
    below = "8xGPU/llama2-70b-99.9/Interactive"
    assert {
        f"measurements/{below}/8xGPU_harness_llm_Interactive.json",
        f"measurements/{below}/user.conf",
        f"measurements/{below}/README.md",
        f"compliance/{below}/TEST06/verify_accuracy.txt",
        f"results/{below}/accuracy/accuracy.txt",
        f"code/llama2-70b-99.9/harness_llm-{maker.commit[:12]}/code/a.py",
    } <= found
    assert not any(name.startswith("src/") or name.endswith("measurements.json") for name in found)


def test_interactive_was_a_benchmark_of_its_own_in_v5_0(maker: Maker) -> None:
    result = maker.package(maker.run(round="v5.0"), division="closed", round="v5.0")
    assert [str(path.relative_to(result.tree)) for path in result.results] == [
        "closed/Org/results/8xGPU/llama2-70b-99.9/Offline",
        "closed/Org/results/8xGPU/llama2-70b-99.9/Server",
        "closed/Org/results/8xGPU/llama2-70b-interactive-99.9/Server",
    ]
    assert any("needs the Offline" in warning for warning in result.warnings)
    run = maker.run("without", round="v5.0", scenarios=("Offline", "Server"))
    result = maker.package(run, division="closed", round="v5.0", system_name="4xGPU")
    assert not any("Interactive" in warning for warning in result.warnings)


def test_a_test_that_was_set_aside_is_left_out(maker: Maker) -> None:
    run = maker.run()
    aside = run / "Server" / "TEST06.broken-1"
    shutil.copytree(run / "Server" / "TEST06", aside)
    (aside / "test.json").write_text('{"format": 1, "state": "broken"}')
    result = maker.package(run, division="closed")
    assert not [name for name in files(result.tree) if "broken" in name]
