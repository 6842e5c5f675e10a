from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from golden.run_folder import write_test
from msgspec.structs import replace

from harness_llm.accuracy import Gates, Reference, gates_of
from harness_llm.accuracy.metrics import Foreign, metric_of
from harness_llm.benchmark import resolve
from harness_llm.config.load import load_config
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import FolderError, ModelError, UsageError
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import write_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder
from harness_llm.run import score as score_module
from harness_llm.run.score import score, score_run, take_over
from harness_llm.run.score_again import score_again_checks

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.config.harness import RunConfig

FINAL, RETURN, A, B = 0, 1, 2, 3


class _Words:
    """Stands in for a tokenizer whose text keeps its markers."""

    texts = ("<|channel|>final<|message|>", "<|return|>", "A", "B")

    def __init__(self, _: Path) -> None: ...

    def decode(self, answers: Any, *, special_tokens: bool = False) -> list[str]:
        return ["".join(self.texts[int(token)] for token in answer) for answer in answers]


def _config(
    folder: Path, benchmark: str = "gpt-oss-120b", engine: str = "vllm", model: object = "/m"
) -> RunConfig:
    path = folder / "config" / "Offline.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    harness = {
        "benchmark": benchmark, "scenario": "Offline", "engine": engine,
        "dataset": {"kind": "synthetic", "shape": "3:4:4"}, "max_tokens": 8,
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"llm_config": {"model": str(model)}, "harness_config": harness}))
    return load_config(path)


def _log(folder: Path, answers: list[list[int]]) -> None:
    lines = [
        json.dumps({
            "seq_id": index, "qsl_idx": index, "data": np.array(tokens, "<i4").tobytes().hex(),
            "token_count": len(tokens),
        })
        for index, tokens in enumerate(answers)
    ]  # fmt: skip
    (folder / "mlperf_log_accuracy.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _own_samples(run: Path, references: list[str]) -> dict[str, Any]:
    table = SampleTable.from_prompts(
        "gpqa", [[1]] * len(references), max_tokens=9, min_tokens=2, references=references
    )
    table.save(run / "samples_TEST07.npz")
    return {"file": "samples_TEST07.npz", "digest": table.digest, "samples": len(table), "name": "gpqa"}


def _gates(benchmark: str) -> Gates | Reference | None:
    return gates_of(resolve(benchmark), None)


def _test07(run: Path, right: int, samples: int = 990) -> Path:
    folder = run / "Offline" / "TEST07"
    folder.mkdir(parents=True)
    _log(folder, [[FINAL, A if index < right else B, RETURN] for index in range(samples)])
    write_test(folder, "Offline", dataset=_own_samples(run, ["A"] * 990))
    return folder


@pytest.mark.parametrize(
    ("right", "samples", "passed"), [(601, 990, True), (600, 990, False), (989, 989, False)]
)
def test_test07_is_scored_by_its_own_samples_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: int, samples: int, passed: bool
) -> None:
    """601 of 990 is 60.707 %, 600 is 60.606 %; the rule asks for 60.698 %."""
    monkeypatch.setattr(score_module, "Tokenizer", _Words)
    folder = _test07(tmp_path, right, samples)
    _config(tmp_path)
    result = score(folder)
    assert (result.test, result.passed) == ("Offline/TEST07", passed)
    assert result.text.startswith("passed" if passed else "FAILED")
    verdict = json.loads((folder / "test.json").read_text())["compliance"]
    assert verdict["passed"] is passed
    text = (folder / "verify_accuracy.txt").read_text()
    assert ("TEST PASS" in text) is passed
    assert f"'exact_match': {round(100 * right / samples, 3)}" in text


def test_made_up_answers_never_pass_test07(tmp_path: Path) -> None:
    folder = _test07(tmp_path, 990)
    _config(tmp_path, engine="simulated")
    assert "FAILED: The answers are made up" in score(folder).text
    assert "TEST PASS" not in (folder / "verify_accuracy.txt").read_text()


@pytest.mark.parametrize(
    ("files", "passed"),
    [
        (
            {"generation_config.json": {"eos_token_id": [9, RETURN]}, "config.json": {"eos_token_id": 8}},
            False,
        ),
        ({"generation_config.json": {"eos_token_id": RETURN}, "config.json": {"eos_token_id": 8}}, False),
        ({"generation_config.json": {}, "config.json": {"eos_token_id": RETURN}}, False),
        ({"config.json": {"eos_token_id": [8, 9]}}, True),
        ({"config.json": {}}, False),
    ],
    ids=str,
)
def test_test06_counts_the_end_tokens_that_the_checkpoint_names(
    tmp_path: Path, files: dict[str, dict[str, Any]], passed: bool
) -> None:
    """The answer ends with RETURN twice; a checkpoint that names no end token cannot pass either."""
    checkpoint, folder = tmp_path / "model", tmp_path / "Offline" / "TEST06"
    checkpoint.mkdir()
    folder.mkdir(parents=True)
    for name, content in files.items():
        (checkpoint / name).write_text(json.dumps(content))
    _log(folder, [[A, RETURN, RETURN]])
    write_test(folder, "Offline")
    _config(tmp_path, "llama2-70b-99.9", model=checkpoint)
    score(folder)
    assert ("EOS check pass: True" in (folder / "verify_accuracy.txt").read_text()) is passed


def test_an_accuracy_test_that_cannot_be_scored_says_so_and_writes_no_score(tmp_path: Path) -> None:
    """A benchmark that is judged by exact match must not pass by ROUGE, or by having no ROUGE gate."""
    folder = _accuracy_test(tmp_path)
    table = SampleTable.from_prompts(
        "acc", [[1]] * 2, max_tokens=9, min_tokens=2, references=["A", "def f(): pass"]
    )
    table.save(tmp_path / "samples.npz")
    result = score(folder)
    assert result.passed is None
    assert "exact_match" in result.text and "docs/accuracy.md" in result.text
    assert not (folder / "accuracy.txt").exists()


@pytest.mark.parametrize(
    ("benchmark", "foreign"),
    [
        ("gpt-oss-120b", "exact_match"),
        ("deepseek-r1", "exact_match"),
        ("llama3.1-405b", "rougeL, exact_match"),
        ("mixtral-8x7b", "rouge1, rouge2, rougeL, gsm8k, mbxp"),
        ("llama2-70b-99.9", None),
        ("llama2-70b-99", None),
        ("llama3.1-8b", None),
        ("mine", None),
    ],
)
def test_which_benchmarks_are_scored_here(benchmark: str, foreign: str | None) -> None:
    found = metric_of(resolve(benchmark))
    if foreign is None:
        assert not isinstance(found, Foreign) and found.name == "rouge"
    else:
        assert isinstance(found, Foreign) and f"judged by {foreign}, which" in found.note
        assert f"mlcommons/inference @b66003e1 language/{benchmark}/eval" in found.note


def test_gates_are_all_of_the_rules() -> None:
    gates = _gates("llama3.1-8b")
    assert isinstance(gates, Gates)
    assert set(gates.minimum) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert gates.characters == (7350879.6, 8984408.4) and gates.tokens_per_sample is None
    gates = _gates("gpt-oss-120b")
    assert isinstance(gates, Gates)
    assert gates.minimum == {"exact_match": pytest.approx(82.2987)}
    assert gates.tokens_per_sample == (0, 10998.9) and gates.characters is None
    assert _gates("mine") is None


# ---------------------------------------------------------------------------- MLCommons' own score


def _accuracy_test(run: Path, *, simulated: bool = False, state: str = "complete") -> Path:
    folder = run / "Offline" / "accuracy"
    folder.mkdir(parents=True)
    _log(folder, [[FINAL, A, RETURN], [FINAL, B]])
    write_test(folder, "Offline", state=state)
    write_record(run / RUN_JSON, replace(RunRecord.blank(), simulated=simulated, tests=("Offline/accuracy",)))
    _config(run)
    return folder


OUTPUT = "gpqa_diamond 700 990\n\nPrinting for submission_checker:\n\n'exact_match': {}\n"


@pytest.mark.parametrize(("value", "passed"), [("82.299", True), ("82.298", False)])
def test_the_score_of_mlcommons_script_is_taken_over_and_judged(
    tmp_path: Path, value: str, passed: bool
) -> None:
    folder, output = _accuracy_test(tmp_path), tmp_path / "out.txt"
    output.write_text(OUTPUT.format(value))
    (result,) = score_run(tmp_path, output=output)
    assert (result.test, result.passed) == ("Offline/accuracy", passed)
    assert ("all gates met" in result.text) is passed
    record = json.loads((folder / "accuracy.json").read_text())
    assert record["metric"].endswith("language/gpt-oss-120b/eval_mlperf_accuracy.py")
    assert record["scores"] == {"exact_match": float(value)}
    assert (record["passed"], record["samples"], record["tokens_per_sample"]) == (passed, 2, 2.5)
    assert f"'exact_match': {value}" in (folder / "accuracy.txt").read_text()
    assert "gen_len" not in (folder / "accuracy.txt").read_text()


def test_a_score_is_not_taken_from_where_there_is_none(tmp_path: Path) -> None:
    folder, output = _accuracy_test(tmp_path), tmp_path / "out.txt"
    with pytest.raises(UsageError, match="is missing"):
        take_over(folder, output)
    output.write_text("'rouge1': 44.0\n")
    with pytest.raises(UsageError, match="holds no score 'exact_match'"):
        take_over(folder, output)
    output.write_text(OUTPUT.format("83.0"))
    log = folder / "mlperf_log_accuracy.json"
    whole = log.read_text()
    for cut in ("[\n", whole.rstrip().removesuffix("]")):
        log.write_text(cut)
        with pytest.raises(FolderError, match="ends in the middle"):
            take_over(folder, output)
    log.write_text(whole.replace(",\n{", "\n...\n{"))
    with pytest.raises(FolderError, match="holds no whole answers"):
        take_over(folder, output)
    _config(tmp_path, "llama2-70b-99.9")
    with pytest.raises(UsageError, match="scores this benchmark itself"):
        take_over(folder, output)
    assert not (folder / "accuracy.txt").exists()


@pytest.mark.parametrize(
    ("facts", "named"), [({"simulated": True}, "simulated"), ({"state": "broken"}, "did not end by itself")]
)
def test_a_score_is_not_given_to_a_run_that_has_no_result(
    tmp_path: Path, facts: dict[str, Any], named: str
) -> None:
    folder, output = _accuracy_test(tmp_path, **facts), tmp_path / "out.txt"
    output.write_text(OUTPUT.format("83.0"))
    with pytest.raises(FolderError, match=named):
        take_over(folder, output)


# ---------------------------------------------------------------------------- scored again, by files alone


def _own_run(run: Path, metric: str | None = None, references: tuple[str, ...] = ("A", "B")) -> Path:
    folder = _accuracy_test(run)
    path = run / "config" / "Offline.yaml"
    document = yaml.safe_load(path.read_text())
    document["harness_config"] |= {"benchmark": "mine", "metric": metric}
    path.write_text(yaml.safe_dump(document))
    table = SampleTable.from_prompts("own", [[1]] * 2, max_tokens=9, min_tokens=2, references=references)
    table.save(run / "samples.npz")
    return folder


def test_an_own_benchmark_is_scored_by_the_metric_that_its_owner_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are A and B; ROUGE sees markers beside them, exact match the letters alone."""
    monkeypatch.setattr(score_module, "Tokenizer", _Words)
    folder = _own_run(tmp_path, "exact_match", ("A", "C"))
    (result,) = score_run(tmp_path)
    assert result.text == "exact_match 50.00: no gate to judge by" and result.passed is None
    record = json.loads((folder / "accuracy.json").read_text())
    assert (record["metric"], record["scores"], record["gen_len"]) == (
        "exact_match", {"exact_match": 50.0}, None,
    )  # fmt: skip
    before = json.loads((folder / "accuracy.json").read_text())
    (folder / "accuracy.txt").unlink()
    assert score_run(tmp_path, ["Offline/accuracy"]) == [result]
    assert json.loads((folder / "accuracy.json").read_text()) == before
    assert "'exact_match': 50," in (folder / "accuracy.txt").read_text()


def test_scores_that_the_answers_do_not_give_are_seen_by_scoring_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_module, "Tokenizer", _Words)
    folder = _own_run(tmp_path, "exact_match", ("A", "C"))
    score(folder)
    assert {check.passed for check in score_again_checks(tmp_path)} == {True}
    text = (folder / "accuracy.txt").read_text()
    (folder / "accuracy.txt").write_text(text.replace("'exact_match': 50,", "'exact_match': 75,"))
    (folder / "accuracy.json").write_text((folder / "accuracy.json").read_text().replace("50.0", "75.0"))
    before = (folder / "accuracy.txt").read_text()
    found = {check.path: check for check in score_again_checks(tmp_path)}
    assert {check.passed for check in found.values()} == {False} and len(found) == 2
    assert "exact_match 75.0 instead of 50" in found["Offline/accuracy/accuracy.txt"].found
    assert (folder / "accuracy.txt").read_text() == before
    (folder / "mlperf_log_accuracy.json").unlink()
    (missing,) = score_again_checks(tmp_path)
    assert missing.passed is False and missing.remedy


def test_other_samples_than_the_test_asked_are_refused(tmp_path: Path) -> None:
    folder = _own_run(tmp_path)
    other = {"name": "own", "samples": 2, "file": "samples.npz", "digest": "0" * 64}
    write_test(folder, "Offline", dataset=other)
    with pytest.raises(FolderError, match="not the samples that Offline/accuracy asked"):
        score(folder)


def test_a_run_that_is_measured_now_or_lacks_the_test_is_left_alone(tmp_path: Path) -> None:
    _own_run(tmp_path)
    with pytest.raises(FolderError, match="has no test Server/accuracy") as caught:
        score_run(tmp_path, ["Server/accuracy"])
    assert caught.value.remedy == "It has Offline/accuracy."
    with RunFolder(tmp_path), pytest.raises(FolderError, match="another run is using"):
        score_run(tmp_path)
    with pytest.raises(FolderError, match=r"run\.json"):
        score_run(tmp_path / "config")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint, folder = tmp_path / "model", tmp_path / "Offline" / "TEST06"
    checkpoint.mkdir()
    folder.mkdir(parents=True)
    (checkpoint / "generation_config.json").write_text('{"eos_token_id"')
    _log(folder, [[A, RETURN]])
    write_test(folder, "Offline")
    _config(tmp_path, "llama2-70b-99.9", model=checkpoint)
    with pytest.raises(ModelError, match=r"generation_config\.json: not valid JSON"):
        score(folder)
