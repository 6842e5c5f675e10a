from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.accuracy import read_outputs
from harness_llm.errors import FolderError, RunBroken

if TYPE_CHECKING:
    from pathlib import Path


def _line(sample: int, tokens: list[int], **more: Any) -> str:
    data = np.array(tokens, "<i4").tobytes().hex().upper()
    return json.dumps({"seq_id": 0, "qsl_idx": sample, "data": data} | more)


def _log(folder: Path, *lines: str) -> Path:
    """A log in LoadGen's own layout: a bracket, one record a line, commas at line ends, a bracket."""
    path = folder / "mlperf_log_accuracy.json"
    path.write_text("[" + ",".join("\n" + line for line in lines) + "\n]\n")
    return path


@given(
    st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9), min_size=1, max_size=9),
    st.randoms(use_true_random=False),
)
def test_any_answers_in_any_order_read_back(
    tmp_path_factory: pytest.TempPathFactory, answers: list[list[int]], random: Any
) -> None:
    lines = [_line(sample, tokens, token_count=len(tokens)) for sample, tokens in enumerate(answers)]
    random.shuffle(lines)
    found = read_outputs(_log(tmp_path_factory.mktemp("log"), *lines), len(answers))
    assert [found[sample].tolist() for sample in range(len(answers))] == answers


def test_server_form_with_first_token_reads_alike(tmp_path: Path) -> None:
    found = read_outputs(_log(tmp_path, _line(3, [5, 6], token_data="05000000", token_count=2)))
    assert found.keys() == {3}
    assert found[3].dtype == np.int32


def test_same_answer_twice_counts_once(tmp_path: Path) -> None:
    found = read_outputs(_log(tmp_path, _line(0, [5, 6]), _line(0, [5, 6]), _line(1, [7])), 2)
    assert [tokens.tolist() for tokens in found.values()] == [[5, 6], [7]]


def test_another_answer_to_the_same_sample_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunBroken, match="line 3: sample 0 was answered twice, differently"):
        read_outputs(_log(tmp_path, _line(0, [5, 6]), _line(0, [5, 7])))


def test_missing_samples_are_counted(tmp_path: Path) -> None:
    log = _log(tmp_path, _line(0, [5]), _line(3, [5]))
    with pytest.raises(RunBroken, match="3 of 5 samples have no answer, first 1"):
        read_outputs(log, 5)


@pytest.mark.parametrize("sample", [2, -1])
def test_unknown_samples_are_counted(tmp_path: Path, sample: int) -> None:
    log = _log(tmp_path, _line(0, [5]), _line(1, [5]), _line(sample, [5]))
    with pytest.raises(RunBroken, match=rf"1 answers are to samples beyond 0\.\.1, first {sample}"):
        read_outputs(log, 2)


def test_int64_data_is_noticed_by_its_count(tmp_path: Path) -> None:
    data = np.array([5, 6], "<i8").tobytes().hex()
    log = _log(tmp_path, json.dumps({"seq_id": 0, "qsl_idx": 0, "data": data, "token_count": 2}))
    with pytest.raises(RunBroken, match="sample 0 has 4 tokens of int32, token_count says 2"):
        read_outputs(log)


@pytest.mark.parametrize("content", ["[\n]\n", "[]"])
def test_log_without_answers_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "log"
    path.write_text(content)
    with pytest.raises(RunBroken, match="holds no answers"):
        read_outputs(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("[\n" + _line(0, [5]), "ends in the middle"),
        ("[\n" + _line(0, [5]) + ",\n", "ends in the middle"),
        ("[\n" + _line(0, [5])[:-9] + "\n]", "line 2: no entry"),
        ('[\n{"seq_id": 0, "qsl_idx": 0, "data": "0500000"}\n]', "line 2: sample 0: no 4-byte tokens"),
        ('[\n{"seq_id": 0, "qsl_idx": 0, "data": "050000"}\n]', "line 2: sample 0: no 4-byte tokens"),
        ('[\n{"seq_id": 0, "qsl_idx": 0, "data": "0g000000"}\n]', "line 2: sample 0: no 4-byte tokens"),
        ('[\n{"seq_id": 0, "data": "05000000"}\n]', "line 2: no entry"),
        ('[\n{"seq_id": 0, "qsl_idx": "0", "data": "05000000"}\n]', "line 2: no entry"),
        ('{"qsl_idx": 0}\n', "line 1: not an accuracy log"),
        ("[\n" + _line(0, [5]) + ",\n...\n" + _line(1, [5]) + "\n]", "line 3: was truncated"),
    ],
)
def test_damaged_log_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "log"
    path.write_text(content)
    with pytest.raises(FolderError, match=expected):
        read_outputs(path)


def test_missing_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is missing"):
        read_outputs(tmp_path / "absent")
