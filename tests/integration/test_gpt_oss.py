"""gpt-oss-120b's compliance tests at their legal sizes: real LoadGen, the simulated engine, two data sets."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from runs import Run

from harness_llm.check import check_run
from harness_llm.datasets.table import SampleTable
from harness_llm.logs.accuracy_log import read_answers
from harness_llm.logs.detail import DetailLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZES = {"TEST07": 990, "TEST09": 6396}
LENGTHS = {"TEST07": 40, "TEST09": 1278}
SCENARIOS = ("Offline", "Server")
CONF = """\
gpt-oss-120b.Offline.target_qps = 1000
gpt-oss-120b.Offline.min_duration = 1000
gpt-oss-120b.Server.target_qps = 3000
gpt-oss-120b.Server.min_duration = 1000
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(
        tmp_path_factory.mktemp("gpt-oss"),
        CONF,
        harness={
            "benchmark": "gpt-oss-120b", "max_tokens": 1278,
            "dataset": {"kind": "synthetic", "shape": "6396:8:1278"},
            "tests": list(SIZES),
        },
    )  # fmt: skip
    own = "harness_config.tests={TEST07: {dataset: {kind: synthetic, shape: 990:8:40}}}"
    code, errors = run.complete("--set", own, seconds=200)
    assert code == 1, errors + run.out
    loads = (run.out + errors).count(" ready after ")
    assert loads == 1, "tests of equal engine arguments share the loaded model, whatever their samples"
    yield run
    run.end()


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("test", SIZES)
def test_each_sample_is_asked_once_and_every_answer_is_logged(run: Run, scenario: str, test: str) -> None:
    """LoadGen alone, with the round's audit.config and 990 samples, crashes here (docs/decisions/0008)."""
    folder = run.output / scenario / test
    answers = list(read_answers(folder / "mlperf_log_accuracy.json"))
    assert Counter(answer.sample for answer in answers) == Counter(range(SIZES[test]))
    assert {len(answer.tokens) for answer in answers} == {LENGTHS[test]}
    assert (np.bincount(run.events(f"{scenario}/{test}")["sample"]) == 1).all()
    log = DetailLog.read(folder / "mlperf_log_detail.txt")
    assert log.values and not log.error_lines, log.errors


def test_every_test_names_the_samples_that_it_asked(run: Run) -> None:
    for scenario in SCENARIOS:
        for test, file in (("TEST07", "samples_TEST07.npz"), ("TEST09", "samples.npz")):
            described = run.json(f"{scenario}/{test}/test.json")["dataset"]
            table = SampleTable.load(run.output / file)
            assert (described["file"], described["digest"]) == (file, table.digest)
            assert described["samples"] == len(table) == SIZES[test]


def test_made_up_answers_fail_test07_and_are_measured_by_test09(run: Run) -> None:
    assert "made up by the simulated engine" in run.out
    for scenario in SCENARIOS:
        verdicts = {test: run.json(f"{scenario}/{test}/test.json")["compliance"] for test in SIZES}
        assert {test: verdict["passed"] for test, verdict in verdicts.items()} == {
            "TEST07": False,
            "TEST09": True,
        }
        assert (
            "Mean output tokens: 1278.00"
            in (run.output / scenario / "TEST09/verify_output_len.txt").read_text()
        )


def test_check_finds_nothing_wrong_but_the_missing_score(run: Run) -> None:
    report = check_run(run.output)
    about = [check for check in report.checks if check.name.startswith("compliance.")]
    assert len(about) >= 16
    assert {check.name for check in about if check.passed is False} == {"compliance.TEST07-accuracy"}


def _swap_samples(run: Path) -> None:
    shutil.copyfile(run / "samples.npz", run / "samples_TEST07.npz")


def _lose_samples(run: Path) -> None:
    (run / "samples_TEST07.npz").unlink()


def _drop_an_answer(run: Path) -> None:
    log = run / "Server/TEST09/mlperf_log_accuracy.json"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([lines[0], *lines[2:]]))


def _end_in_the_middle(run: Path) -> None:
    log = run / "Offline/TEST07/mlperf_log_accuracy.json"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))


def _miscount(run: Path) -> None:
    log = run / "Offline/TEST09/mlperf_log_accuracy.json"
    log.write_text(log.read_text().replace('"token_count" : 1278', '"token_count" : 1', 1))


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        (_swap_samples, {"compliance.TEST07-samples", "test.verdict"}),
        (_lose_samples, {"compliance.TEST07-samples"}),
        (
            _drop_an_answer,
            {"compliance.TEST09-answers", "compliance.TEST09-answered-samples", "test.verdict"},
        ),
        (_end_in_the_middle, {"compliance.TEST07-answers", "test.verdict"}),
        (_miscount, {"compliance.TEST09-answers", "test.verdict"}),
    ],
)
def test_check_notices_other_samples_and_missing_answers(
    run: Run, tmp_path: Path, damage: Callable[[Path], None], checks: set[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.output, copy)
    damage(copy)
    failed = {found.name for found in check_run(copy).checks if found.passed is False}
    sound = {found.name for found in check_run(run.output).checks if found.passed is False}
    assert failed - sound == checks
