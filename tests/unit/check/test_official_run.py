"""Runs of official benchmarks: their data sets, limits and rounds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from golden.run_folder import edit, failed

from harness_llm.check import check_run
from harness_llm.datasets.table import SampleTable


@pytest.mark.parametrize(
    ("benchmark", "limits", "accuracy_limit", "failing"),
    [
        ("llama2-70b-99.9", [1024, 1024], None, set()),
        ("llama2-70b-99.9", [1023, 1023], None, {"performance", "accuracy"}),
        ("llama2-70b-99.9", [1024, 512], None, {"performance", "accuracy"}),
        ("llama2-70b-99.9", [1024, 1025], None, {"performance", "accuracy"}),
        ("gpt-oss-120b", [10240, 10240], None, {"accuracy"}),
        ("gpt-oss-120b", [10240, 10240], 32768, set()),
        ("gpt-oss-120b", [10240, 10240], 32767, {"accuracy"}),
    ],
)
def test_an_official_run_must_ask_with_the_output_limits_of_the_rules(
    run: Path, benchmark: str, limits: list[int], accuracy_limit: int | None, failing: set[str]
) -> None:
    def save(name: str, limits: list[int]) -> None:
        count = np.array(limits, np.int32)
        SampleTable(
            "t",
            np.zeros(len(limits), np.int32),
            np.arange(len(limits) + 1),
            count,
            np.full_like(count, 2),
            None,
        ).save(run / name)

    save("samples.npz", limits)
    own = {}
    if accuracy_limit is not None:
        save("samples_accuracy.npz", [accuracy_limit])
        own = {"accuracy": {"name": "t", "samples": 1, "digest": "d", "file": "samples_accuracy.npz"}}
    edit(run / "run.json", benchmark=benchmark, official=True, test_datasets=own)
    about = "dataset.output-limits-"
    assert {name.removeprefix(about) for name in failed(run) if name.startswith(about)} == failing
    edit(run / "run.json", simulated=True)
    assert not [name for name in failed(run) if name.startswith(about)], "a simulated run's are its shape's"


def test_an_official_run_may_not_force_the_length_of_its_answers(run: Path) -> None:
    forced = SampleTable.from_prompts("t", [[1]], max_tokens=1024, min_tokens=1024)
    forced.save(run / "samples.npz")
    edit(run / "run.json", benchmark="llama2-70b-99.9", official=True)
    found = failed(run)["dataset.output-limits-performance"]
    assert found == "max_tokens 1024, min_tokens 1024"


def test_an_official_benchmark_needs_its_data_set_and_a_simulated_one_is_told(run: Path) -> None:
    named = {"benchmark": "llama2-70b-99.9", "official": True}
    edit(run / "run.json", **named)
    assert failed(run)["dataset.official"] == "toy, 64 samples"
    assert check_run(run).label == "unofficial"
    edit(run / "run.json", simulated=True)
    told = [check for check in check_run(run).checks if check.name == "dataset.official"]
    assert [(check.passed, check.remedy) for check in told] == [(None, "")]
    for name, expected in (
        ("openorca", "official"),
        ("synthetic", "unofficial"),
        ("synthetic:1", "unofficial"),
    ):
        edit(run / "run.json", dataset={"name": name, "samples": 24576, "digest": "d"})
        assert check_run(run).label == expected, name


@pytest.mark.parametrize(
    ("git", "passed", "words"),
    [
        ({"commit": "c0ffee", "dirty": False}, True, "commit c0ffee, work tree clean"),
        ({"commit": "c0ffee", "dirty": True, "changed": list("abcdefg")}, None, "a, b, c, d, e and 2 more"),
        ({"commit": None, "dirty": None}, None, "commit not known, work tree not known"),
        ("main", None, "commit not known"),
    ],
)
def test_the_data_set_of_a_run_is_told(run: Path, git: object, passed: bool | None, words: str) -> None:
    edit(run / "run.json", git=git)
    (check,) = (check for check in check_run(run).checks if check.name == "run.source")
    assert check.passed is passed and words in check.found


def test_a_benchmark_of_another_round_names_its_rounds(run: Path) -> None:
    edit(run / "run.json", benchmark="llama2-70b-99", official=True)
    (check,) = (check for check in check_run(run, "v6.1").failures if check.name == "run.official")
    assert "v5.0, v5.1, v6.0" in check.remedy


def test_a_simulated_run_of_an_official_benchmark_needs_no_scores(run: Path) -> None:
    shutil.rmtree(run / "Server")
    for name in ("accuracy.txt", "accuracy.json"):
        (run / "Offline" / "accuracy" / name).unlink()

    def accuracy_failures(*, simulated: bool) -> set[str]:
        edit(run / "run.json", benchmark="llama2-70b-99.9", official=True, simulated=simulated)
        return {name for name in failed(run) if name in ("accuracy.file", "accuracy.record")}

    assert accuracy_failures(simulated=False)
    assert not accuracy_failures(simulated=True)
