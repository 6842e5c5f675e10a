from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.prompts import Prompts
from harness_llm.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.datasets import SampleTable


def _write(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def _load(path: Path, model: Path | None = None) -> SampleTable:
    return Prompts(path=path).read(Reading(GenerationLimits(min_tokens=2, max_tokens=64), model))


def test_token_ids_need_no_model(tmp_path: Path) -> None:
    table = _load(
        _write(
            tmp_path,
            {"token_ids": [5, 6, 7], "reference": "a", "max_tokens": 8},
            {"token_ids": [9], "reference": "", "min_tokens": 64},
        )
    )
    assert [table.prompt(index).tolist() for index in range(2)] == [[5, 6, 7], [9]]
    assert table.max_tokens.tolist() == [8, 64]
    assert table.min_tokens.tolist() == [2, 64]
    assert table.references == ("a", "")
    assert table.name == "mine"


def test_gzip_and_byte_order_mark_read_alike(tmp_path: Path) -> None:
    line = json.dumps({"token_ids": [5, 6]}).encode()
    plain = tmp_path / "a.jsonl"
    plain.write_bytes(b"\xef\xbb\xbf" + line)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(line))
    assert _load(plain).digest == _load(packed).digest


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ('{"token_ids": [1]\n', "line 2: not JSON"),
        ("[1, 2]\n", "line 2: found [1, 2], expected a JSON object"),
        ("null\n", "line 2: found null"),
        ({}, "line 2: no column holds a prompt"),
        ({"prompt": "a", "token_ids": [4]}, "found prompt and token_ids"),
        ({"prompt": ""}, "line 2: prompt: Input should be a text"),
        ({"prompt": 7}, "prompt: Input should be a text (found 7)"),
        ({"token_ids": []}, "line 2: token_ids"),
        ({"token_ids": [4, -1]}, "token_ids.1"),
        ({"token_ids": [4, 2**31]}, "token_ids.1"),
        ({"token_ids": [4, 1.5]}, "token_ids.1"),
        ({"token_ids": [4, True]}, "token_ids.1"),
        ({"token_ids": "45"}, "line 2: token_ids"),
        ({"messages": []}, "line 2: messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        (
            {"token_ids": [4], "max_token": 3},
            "line 2: max_token: no column of a sample is called so; did you mean max_tokens?",
        ),
        ({"token_ids": [4], "max_tokens": 1}, "line 2: max_tokens"),
        ({"token_ids": [4], "min_tokens": 65}, "min_tokens 65 is above max_tokens 64"),
        ({"token_ids": [4], "reference": "x"}, "line 2: has a reference, unlike"),
    ],
)
def test_bad_line_is_named_with_its_number(tmp_path: Path, second: object, expected: str) -> None:
    path = _write(tmp_path, {"token_ids": [5]}, second)
    with pytest.raises(DatasetError) as caught:
        _load(path)
    assert str(path) in caught.value.message
    assert expected in caught.value.message
    assert caught.value.remedy


def test_lost_reference_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, {"token_ids": [5], "reference": "x"}, {"token_ids": [5]})
    with pytest.raises(DatasetError, match="line 2: lacks a reference"):
        _load(path)


def test_text_without_model_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 1: text prompts need a tokenizer"):
        _load(_write(tmp_path, {"prompt": "hello"}))


def test_missing_model_folder_is_a_model_error(tmp_path: Path) -> None:
    path = _write(tmp_path, {"prompt": "hello"})
    with pytest.raises(ModelError, match="line 1: .*no such checkpoint folder"):
        _load(path, tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08 damaged"])
def test_empty_or_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("a.jsonl.gz" if content else "a.jsonl")
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="empty|cannot be read"):
        _load(path)


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    lines = b"".join(json.dumps({"token_ids": [n]}).encode() + b"\n" for n in range(2000))
    path.write_bytes(gzip.compress(lines)[:-200])
    with pytest.raises(DatasetError):
        _load(path)


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_missing_file_or_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        _load(tmp_path / name)


def test_latin1_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"prompt": "é"}'.encode("latin1"))
    with pytest.raises(DatasetError, match="line 1: not UTF-8"):
        _load(path)


def test_deeply_nested_line_is_an_error_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 1"):
        _load(_write(tmp_path, "[" * 200_000 + "\n"))
