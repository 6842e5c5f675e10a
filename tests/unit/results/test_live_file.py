from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import FolderError
from harness_llm.results.live_file import LiveFile, LiveReader, read_live
from harness_llm.results.live_records import LIVE_VERSION, LiveRecord, TestState
from harness_llm.results.paths import LIVE_JSONL

if TYPE_CHECKING:
    from pathlib import Path


def _record(second: float) -> LiveRecord:
    test = TestState(name="Server/performance", began_at_s=0.0, ttft={691: 3}, expected=None)
    return LiveRecord(version=LIVE_VERSION, at_s=second, began_at_s=0.0, tests=(test,), said=("a \u2028 b",))


def _write(run: Path, *seconds: float) -> None:
    file = LiveFile(run)
    for second in seconds:
        file.take(_record(second))
    file.close()


def test_what_was_written_is_read_back_whole_and_piece_by_piece(tmp_path: Path) -> None:
    reader = LiveReader(tmp_path)
    with pytest.raises(FolderError, match="No such file"):
        reader.new()
    assert read_live(tmp_path) == []
    _write(tmp_path, 1, 2)
    assert reader.new() == [_record(1), _record(2)] and reader.new() == []
    _write(tmp_path, 3)
    assert reader.new() == [_record(3)]
    assert read_live(tmp_path) == [_record(1), _record(2), _record(3)]


def test_the_last_line_of_a_killed_run_may_be_cut_anywhere_and_the_run_continue(tmp_path: Path) -> None:
    _write(tmp_path, 1, 2)
    whole = (tmp_path / LIVE_JSONL).read_bytes()
    second = whole.index(b"\n") + 1
    for end in (second, second + 1, len(whole) // 2 + second // 2, len(whole) - 1):
        (tmp_path / LIVE_JSONL).write_bytes(whole[:end])
        reader = LiveReader(tmp_path)
        assert reader.new() == [_record(1)]
        _write(tmp_path, 3)
        assert _record(3) in reader.new()
        assert reader.damaged == (second < end < len(whole) - 1)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"at_s": "x"}', b"[" * 100_000, b"\0" * 9]
)
def test_a_damaged_line_costs_that_line(tmp_path: Path, damage: bytes) -> None:
    _write(tmp_path, 1, 2)
    lines = (tmp_path / LIVE_JSONL).read_bytes().splitlines()
    (tmp_path / LIVE_JSONL).write_bytes(b"\n".join([lines[0], damage, lines[1], b""]))
    reader = LiveReader(tmp_path)
    assert reader.new() == [_record(1), _record(2)]
    assert reader.damaged == bool(damage)


def test_a_newer_version_is_refused_and_an_unknown_key_left_alone(tmp_path: Path) -> None:
    path = tmp_path / LIVE_JSONL
    path.write_text('{"version": 1, "at_s": 1, "began_at_s": 0, "colour": "blue"}\n')
    assert read_live(tmp_path) == [LiveRecord(version=1, at_s=1.0, began_at_s=0.0)]
    path.write_text(f'{{"version": {LIVE_VERSION + 1}, "at_s": 1, "began_at_s": 0}}\n')
    with pytest.raises(FolderError, match="newer version"):
        read_live(tmp_path)


def test_a_disk_that_says_no_ends_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = LiveFile(tmp_path)
    file.take(_record(1))
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    file.take(_record(2))
    monkeypatch.undo()
    file.take(_record(3))
    file.close()
    assert read_live(tmp_path) == [_record(1)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / LIVE_JSONL}: nothing more is written: [Errno 28] No space left on device"
    ]
    LiveFile(tmp_path / "none").take(_record(1))
