from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from golden.recorded import accuracy_hash, unpack

from harness_llm.logs.accuracy_log import AccuracyLog, file_hash

if TYPE_CHECKING:
    from pathlib import Path

NAME = "mlperf_log_accuracy.json"


def test_a_whole_log_is_counted(tmp_path: Path) -> None:
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    log = AccuracyLog.read(path)
    assert (log.entries, len(log.samples), log.repeated) == (64, 64, 0)
    assert log.samples == frozenset(range(64))
    assert log.tokens_per_sample == 24.0 and log.count_mismatches == 0
    assert not log.is_truncated and log.problems == ()
    assert file_hash(path) == accuracy_hash("toy-server-accuracy")


@pytest.mark.parametrize("kept", [4096, 4000, 700])
def test_a_cut_log_is_no_problem_but_has_no_mean(tmp_path: Path, kept: int) -> None:
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    content = path.read_bytes()
    path.write_bytes(content[:kept] + b"\n\n...\n\n" + content[-kept:])
    log = AccuracyLog.read(path)
    assert log.is_truncated and log.problems == ()
    assert log.tokens_per_sample is None
    assert 0 < log.entries < 64


def test_a_log_cut_short_is_a_problem(tmp_path: Path) -> None:
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    path.write_bytes(path.read_bytes()[:-100])
    log = AccuracyLog.read(path)
    assert log.problems and not log.is_truncated


@pytest.mark.parametrize("content", [b"", b"[\n]\n", b"\x00\xff\xfe", b"{}\n", b"[1, 2]\n", b"...\n...\n"])
def test_no_content_raises(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    log = AccuracyLog.read(path)
    assert log.entries == 0 and log.tokens_per_sample is None


def test_repeats_and_wrong_counts(tmp_path: Path) -> None:
    path = tmp_path / NAME
    entry = '{ "seq_id" : 0, "qsl_idx" : 3, "data" : "0300000004000000", "token_count" : %d }'
    path.write_text(f"[\n{entry % 2},\n{entry % 2},\n{(entry % 3).replace(': 3,', ': 4,')}\n]\n")
    log = AccuracyLog.read(path)
    assert (log.entries, log.repeated, log.count_mismatches) == (3, 1, 1)


def test_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    assert file_hash(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
