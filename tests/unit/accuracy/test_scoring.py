from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import harness_llm
from harness_llm.accuracy import AccuracyResult, Gates, Reference, score_accuracy_log
from harness_llm.accuracy.metrics import METRICS
from harness_llm.accuracy.reference import _cut
from harness_llm.checkpoint import STARTING_CHECKPOINT, weights_digest
from harness_llm.datasets import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import ConfigError, DatasetError, ModelError, RunBroken

_WORDS = ["</s>", "the", "quick", "brown", "fox", "lazy", "dog"]


class _Tokenizer:
    """Words by index; id 0 is special and left out."""

    def decode(self, answers: Any) -> list[str]:
        return [" ".join(_WORDS[int(token)] for token in answer if token) for answer in answers]


def score_test(
    folder: Path, table: SampleTable, model: Path, judge: Reference | Gates | None
) -> AccuracyResult:
    """Score by ROUGE, with the words above for a tokenizer."""
    gates = judge.gates(table, weights_digest(model)) if isinstance(judge, Reference) else judge
    log, words = folder / "mlperf_log_accuracy.json", cast(Tokenizer, _Tokenizer())
    return score_accuracy_log(log, table, words, METRICS["rouge"], gates)


def _table(references: list[str] | None, max_tokens: int = 8) -> SampleTable:
    prompts = [[1], [2, 3]]
    return SampleTable.from_prompts("t", prompts, max_tokens=max_tokens, min_tokens=2, references=references)


def _weights(folder: Path, tensors: dict[str, list[float]], name: str = "model.safetensors") -> Path:
    """A safetensors file, written by the form's own definition."""
    folder.mkdir(exist_ok=True)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for key, values in tensors.items():
        content = np.array(values, "<f4").tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[key] = {"dtype": "F32", "shape": [len(values)], "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + data)
    return folder


def _log(folder: Path, answers: dict[int, list[int]]) -> None:
    lines = [
        json.dumps({"seq_id": 0, "qsl_idx": sample, "data": np.array(tokens, "<i4").tobytes().hex()})
        for sample, tokens in answers.items()
    ]
    (folder / "mlperf_log_accuracy.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _reference(table: SampleTable, model: Path, **changes: Any) -> Reference:
    fields: dict[str, Any] = {
        "benchmark": "b", "model_digest": weights_digest(model), "dataset_digest": table.digest,
        "dtype": "float32", "transformers": "5", "torch": "2", "max_tokens": 8, "min_tokens": 2, "samples": 2,
        "tokens_per_sample": 4.0, "scores": {"rouge1": 100.0}, "made_by": "python", "date": "2026-11-21",
    }  # fmt: skip
    return Reference(**(fields | changes))


def test_answers_are_matched_by_sample_and_judged(tmp_path: Path) -> None:
    table = _table(["the quick fox", "lazy dog"])
    model = _weights(tmp_path / "model", {"w": [1.0]})
    _log(tmp_path, {1: [5, 6, 0], 0: [1, 2, 4, 0]})
    result = score_test(tmp_path, table, model, _reference(table, model))
    assert result.scores["rouge1"] == 100.0
    assert result.passed is True
    assert result.gates is not None
    assert result.gates.minimum == {"rouge1": 99.0}
    assert (result.samples, result.tokens, result.tokens_per_sample) == (2, 7, 3.5)
    assert result.characters == len("the quick fox") + len("lazy dog")


def test_swapped_answers_fail(tmp_path: Path) -> None:
    table = _table(["the quick fox", "lazy dog"])
    model = _weights(tmp_path / "model", {"w": [1.0]})
    _log(tmp_path, {0: [5, 6], 1: [1, 2, 4]})
    assert score_test(tmp_path, table, model, _reference(table, model)).passed is False


def test_gates_of_the_rules_need_no_weights(tmp_path: Path) -> None:
    _log(tmp_path, {0: [1], 1: [1]})
    result = score_test(tmp_path, _table(["the", "the"]), tmp_path, Gates({"rouge1": 100.0}, (1.0, 1.0)))
    assert result.passed is True


def test_unanswered_sample_is_an_error_before_any_score(tmp_path: Path) -> None:
    _log(tmp_path, {1: [5, 6]})
    with pytest.raises(RunBroken, match="1 of 2 samples have no answer, first 0"):
        score_test(tmp_path, _table(["a", "b"]), tmp_path, None)


def test_table_without_references_cannot_be_scored(tmp_path: Path) -> None:
    _log(tmp_path, {0: [1], 1: [1]})
    with pytest.raises(DatasetError, match="has no reference answers"):
        score_test(tmp_path, _table(None), tmp_path, None)


@pytest.mark.parametrize("changed", ["limits", "answers"])
def test_reference_of_other_samples_is_refused(tmp_path: Path, changed: str) -> None:
    model = _weights(tmp_path / "model", {"w": [1.0]})
    reference = _reference(_table(["a", "b"]), model)
    other = _table(["a", "b"], max_tokens=9) if changed == "limits" else _table(["a", "c"])
    with pytest.raises(ConfigError, match="the reference of b is for 2 samples, min_tokens 2, max_tokens 8"):
        score_test(tmp_path, other, model, reference)


def test_reference_of_other_weights_is_refused(tmp_path: Path) -> None:
    table = _table(["a", "b"])
    reference = _reference(table, _weights(tmp_path / "one", {"w": [1.0]}))
    other = _weights(tmp_path / "two", {"w": [1.0000001]})
    with pytest.raises(ConfigError, match="is for weights with digest"):
        score_test(tmp_path, table, other, reference)


def test_quantized_weights_are_judged_by_what_they_were_made_from(tmp_path: Path) -> None:
    table = _table(["the", "lazy"])
    start = _weights(tmp_path / "start", {"w": [1.0]})
    quantized = _weights(tmp_path / "fp8", {"w": [0.5], "w_scale": [2.0]})
    (quantized / STARTING_CHECKPOINT).write_text(json.dumps({"model_digest": weights_digest(start)}))
    _log(tmp_path, {0: [1], 1: [5]})
    assert score_test(tmp_path, table, quantized, _reference(table, start)).passed is True


def test_digest_sees_weights_and_not_files(tmp_path: Path) -> None:
    whole = _weights(tmp_path / "whole", {"a": [1.0, 2.0], "b": [3.0]})
    sharded = _weights(tmp_path / "sharded", {"b": [3.0]}, "model-1.safetensors")
    _weights(sharded, {"a": [1.0, 2.0]}, "model-2.safetensors")
    assert weights_digest(whole) == weights_digest(sharded)
    renamed = _weights(tmp_path / "renamed", {"a": [1.0, 2.0], "c": [3.0]})
    swapped = _weights(tmp_path / "swapped", {"a": [2.0, 1.0], "b": [3.0]})
    assert len({weights_digest(folder) for folder in (whole, renamed, swapped)}) == 3


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x04\x00\x00\x00\x00\x00\x00\x00[1]]", None])
def test_damaged_or_missing_weights_are_a_model_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError):
        weights_digest(tmp_path)


def test_weights_cut_short_are_a_model_error(tmp_path: Path) -> None:
    file = _weights(tmp_path / "m", {"w": [1.0, 2.0]}) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match="cut short"):
        weights_digest(tmp_path / "m")


def test_reference_file_reads_back(tmp_path: Path) -> None:
    made = _reference(_table(["a", "b"]), _weights(tmp_path / "m", {"w": [1.0]}))
    path = tmp_path / "reference.json"
    path.write_text(made.model_dump_json())
    assert Reference.load(path) == made


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"scores": {}}, "scores"),
        ({"scores": {"rouge1": -1.0}}, "scores.rouge1"),
        ({"scores": {"rouge1": "44"}}, "scores.rouge1"),
        ({"dataset_digest": "abc"}, "dataset_digest"),
        ({"gate": 0.5}, "gate"),
        ({"format": 2}, "format"),
    ],
)
def test_reference_of_another_form_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    made = _reference(_table(["a", "b"]), _weights(tmp_path / "m", {"w": [1.0]}))
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(made.model_dump() | change))
    with pytest.raises(ConfigError, match=expected):
        Reference.load(path)


def test_missing_reference_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent.json: cannot be read"):
        Reference.load(tmp_path / "absent.json")


def test_every_reference_in_the_package_is_readable() -> None:
    folder = Path(harness_llm.__path__[0]) / "models"
    found = sorted(folder.glob("*/reference.json"))
    assert found
    for path in found:
        reference = Reference.load(path)
        assert reference.benchmark == path.parent.name
        assert {"rouge1", "rouge2", "rougeL"} <= reference.scores.keys()


@pytest.mark.parametrize(
    ("row", "limit", "expected"),
    [
        ([4, 5, 2, 2, 2], 9, [4, 5, 2]),
        ([4, 5, 2, 2], 2, [4, 5]),
        ([4, 5, 7], 3, [4, 5, 7]),
        ([2, 2], 9, [2]),
        ([4, 3, 2], 9, [4, 3]),
    ],
)
def test_generated_row_is_cut_after_its_end(row: list[int], limit: int, expected: list[int]) -> None:
    assert _cut(row, {2, 3}, limit) == expected


def test_result_is_frozen() -> None:
    with pytest.raises(AttributeError):
        AccuracyResult("rouge", {}, 1, 1, 1).samples = 2  # type: ignore[misc]
