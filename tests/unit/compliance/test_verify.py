import json
from pathlib import Path

import numpy as np
import pytest

from harness_llm import rules
from harness_llm.compliance import Evidence, Verification, audit_test
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, FolderError

EOS = 2


def verify(test: str, log: Path, **facts) -> Verification:
    return audit_test(test).verify(Evidence(log, **facts))


def audit_config(test: str, **facts) -> str:
    return audit_test(test).audit(**facts)


def write_log(path: Path, entries: list[dict[str, object]]) -> Path:
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    path.write_text(f"[\n{lines}\n]\n")
    return path


def entry(index: int, tokens: list[int], *, first: list[int] | None = None, count: int | None = None):
    reported = tokens[:1] if first is None else first
    return {
        "seq_id": index,
        "qsl_idx": index,
        "data": np.array(tokens, "<i4").tobytes().hex(),
        "token_data": np.array(reported, "<i4").tobytes().hex(),
        "token_count": len(tokens) if count is None else count,
    }


def judge(tmp_path: Path, entries, scenario: Scenario = Scenario.SERVER, eos=(EOS,)):
    log = write_log(tmp_path / "mlperf_log_accuracy.json", entries)
    return verify("TEST06", log, scenario=scenario, end_tokens=frozenset(eos))


GOOD = [entry(0, [5, 6, EOS]), entry(1, [7, EOS, 8])]


def test_a_good_run_has_the_lines_that_the_checker_wants(tmp_path: Path) -> None:
    verdict = judge(tmp_path, GOOD)
    assert verdict.passed and verdict.reasons == ()
    assert verdict.text.splitlines() == [
        "First token check pass: True",
        "EOS check pass: True",
        "Sample length check pass: True",
        "TEST06 verification complete",
    ]
    assert verdict.write(tmp_path).read_text() == verdict.text
    assert verdict.file_name == "verify_accuracy.txt"


def test_offline_has_no_first_tokens_to_check(tmp_path: Path) -> None:
    entries = [{key: value for key, value in found.items() if key != "token_data"} for found in GOOD]
    verdict = judge(tmp_path, entries, Scenario.OFFLINE)
    assert verdict.passed and "First token check pass: Skipped" in verdict.text


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (entry(9, [5, 6], first=[6]), "First token check pass: False"),
        (entry(9, [5, 6], first=[]), "First token check pass: False"),
        (entry(9, [5, 6], first=[5, 6, 7]), "First token check pass: False"),
        (entry(9, [5, EOS, EOS]), "EOS check pass: False"),
        (entry(9, [EOS, EOS]), "EOS check pass: False"),
        (entry(9, [5, 6], count=3), "Sample length check pass: False"),
        (entry(9, [], first=[], count=1), "Sample length check pass: False"),
    ],
)
def test_one_bad_sample_fails_and_is_named(tmp_path: Path, bad, line: str) -> None:
    verdict = judge(tmp_path, [*GOOD, bad])
    assert not verdict.passed and line in verdict.text and "verification failed" in verdict.text
    assert any("the first is 9" in reason for reason in verdict.reasons)


def test_a_second_end_token_of_another_kind_counts(tmp_path: Path) -> None:
    entries = [entry(0, [5, 128001, 128009])]
    assert not judge(tmp_path, entries, eos=(128001, 128009)).passed
    assert judge(tmp_path, entries, eos=(128009,)).passed


def test_an_empty_log_or_unknown_end_tokens_never_pass(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_accuracy.json").write_text("[\n]\n")
    verdict = verify(
        "TEST06", tmp_path / "mlperf_log_accuracy.json", scenario=Scenario.SERVER, end_tokens=frozenset([2])
    )
    assert not verdict.passed and "pass: True" not in verdict.text
    assert not judge(tmp_path, GOOD, eos=()).passed


@pytest.mark.parametrize(
    "text", ["[\n", '[\n{"seq_id": 1', "", "\0\1", '[\n{"qsl_idx": "x"}\n]', "[\n\n...\n\n]"]
)
def test_a_damaged_log_is_an_error(tmp_path: Path, text: str) -> None:
    log = tmp_path / "mlperf_log_accuracy.json"
    log.write_text(text)
    with pytest.raises(FolderError, match="mlperf_log_accuracy"):
        verify("TEST06", log, scenario=Scenario.SERVER, end_tokens=frozenset([2]))


def test_odd_bytes_are_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="4-byte"):
        judge(tmp_path, [{**entry(0, [1, 2]), "data": "0102"}])


@pytest.mark.parametrize(
    ("score", "samples", "passed"),
    [(60.698, 990, True), (60.697, 990, False), (None, 990, False), (90.0, 989, False)],
)
def test07(tmp_path: Path, score: float | None, samples: int, passed: bool) -> None:
    log = write_log(tmp_path / "log.json", [entry(i, [1, 2]) for i in range(samples)])
    verdict = verify("TEST07", log, scenario=Scenario.OFFLINE, score=score)
    assert verdict.passed is passed
    assert ("TEST PASS" in verdict.text) is passed and ("TEST FAIL" in verdict.text) is not passed


@pytest.mark.parametrize(
    ("length", "samples", "passed"),
    [(1151, 6396, True), (1150, 6396, False), (1407, 6396, False), (1200, 6395, False)],
)
def test09(tmp_path: Path, length: int, samples: int, passed: bool) -> None:
    answer = entry(0, [3] * length)
    log = write_log(tmp_path / "log.json", [{**answer, "qsl_idx": index} for index in range(samples)])
    verdict = verify("TEST09", log, scenario=Scenario.OFFLINE)
    assert verdict.passed is passed and verdict.file_name == "verify_output_len.txt"
    assert ("TEST PASS" in verdict.text) is passed


@pytest.mark.parametrize("test", sorted(rules.table().tests))
def test_audit_config_has_every_setting_of_the_rules(test: str) -> None:
    lines = [line for line in audit_config(test).splitlines() if not line.startswith("#")]
    assert dict(line.split(" = ") for line in lines) == {
        f"*.*.{key}": str(value) for key, value in rules.compliance_test(test).audit.items()
    }
    assert lines


def test_other_samples_than_the_benchmarks_are_told_to_loadgen() -> None:
    """Without it LoadGen 6.0.17 makes no query of TEST07's 990 samples and crashes (docs/decisions/0008)."""
    plain, own = audit_config("TEST07"), audit_config("TEST07", loaded_samples=990)
    assert own.startswith(plain)
    assert own.splitlines()[-1] == "*.*.performance_sample_count_override = 990"


def test_test07_without_a_score_says_why(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.json", [entry(i, [1, 2]) for i in range(990)])
    verdict = verify("TEST07", log, scenario=Scenario.OFFLINE, why_unscored="Made up.")
    assert verdict.reasons == ("Made up.",) and not verdict.passed
    assert verdict.text.splitlines()[0] == "Made up." and "TEST PASS" not in verdict.text
    scored = verify("TEST07", log, scenario=Scenario.OFFLINE, score=62.15)
    assert "'exact_match': 62.15" in scored.text.splitlines()


@pytest.mark.parametrize(
    ("name", "near"), [("performanc", "performance"), ("acuracy", "accuracy"), ("TEST6", "TEST06"), ("x", "")]
)
def test_an_unknown_test_names_all_tests_and_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: no such test") as caught:
        audit_config(name)
    assert caught.value.remedy.startswith(f"Did you mean {near}?" if near else "The tests are performance")
    assert "performance, accuracy, TEST06, TEST07, TEST09" in caught.value.remedy
    with pytest.raises(ConfigError):
        rules.compliance_test(name)
