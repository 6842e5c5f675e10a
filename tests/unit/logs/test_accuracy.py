from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from golden.recorded import accuracy_hash, unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_llm.errors import FolderError
from harness_llm.files import file_digest
from harness_llm.logs.accuracy_log import AccuracyLog, iterate_entries, read_answers
from harness_llm.logs.source import LogError

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
    assert file_digest(path) == accuracy_hash("toy-server-accuracy")


@pytest.mark.parametrize("kept", [4096, 4000, 700])
def test_a_cut_log_is_no_problem_but_has_no_mean(tmp_path: Path, kept: int) -> None:
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    content = path.read_bytes()
    path.write_bytes(content[:kept] + b"\n\n...\n\n" + content[-kept:])
    log = AccuracyLog.read(path)
    assert log.is_truncated and log.problems == ()
    assert log.tokens_per_sample is None
    assert 0 < log.entries < 64


@pytest.mark.parametrize("kept", [-100, -2])
def test_a_log_cut_short_is_a_problem(tmp_path: Path, kept: int) -> None:
    """Also where it is cut between two entries, so that every line is whole."""
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    content = path.read_bytes().rstrip()
    assert content.endswith(b"\n]")
    path.write_bytes(content[:kept])
    log = AccuracyLog.read(path)
    assert log.problems and not log.is_truncated
    assert "ends in the middle" in log.problems[-1].reason


def test_a_cut_log_whose_end_is_missing_is_a_problem(tmp_path: Path) -> None:
    path = unpack("toy-server-accuracy", tmp_path) / NAME
    path.write_bytes(path.read_bytes()[:700] + b"\n\n...\n\n")
    log = AccuracyLog.read(path)
    assert log.is_truncated and [problem.line for problem in log.problems] == [0]


ENTRY = '{ "seq_id" : 0, "qsl_idx" : 3, "data" : "0300000004000000", "token_count" : 2 }'


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (f"[{ENTRY}]", "e"),
        (f"[\n{ENTRY},\n{ENTRY}\n]\n\n", "ee"),
        (f"[\n{ENTRY},\n...\n{ENTRY}\n]", "e-e"),
        (f"{ENTRY}\n", "xex"),
        (f"[\n{ENTRY},\n", "ex"),
        (f"[\n{ENTRY}\n]\n{ENTRY}\n", "eex"),
        ("[" * 200_000, "xx"),
        ("[\n" + '{"a":' * 100_000 + "\n]", "x"),
        ('[\n{"seq_id":0,"qsl_idx":true,"data":""}\n]', "x"),
        ("[\n\udcff\n]", "x"),
    ],
)
def test_one_iterator_tells_entries_cuts_and_faults_apart(tmp_path: Path, text: str, kinds: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = list(iterate_entries(path))
    assert (
        "".join("-" if one is None else "x" if isinstance(one, LogError) else "e" for one in found) == kinds
    )


def test_a_file_of_rubbish_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("[\n" + "x\n" * 50_000)
    assert len(list(iterate_entries(path))) == 1000
    assert len(AccuracyLog.read(path).problems) == 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("toy-server-accuracy", tmp_path_factory.mktemp("whole")) / NAME


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=60), place=st.integers(0, 2_000), removed=st.integers(0, 200))
def test_no_damage_is_raised_and_no_damage_is_read_as_whole(
    whole: Path, tmp_path: Path, noise: bytes, place: int, removed: int
) -> None:
    content = whole.read_bytes()
    answers = [(answer.sample, answer.tokens.tobytes()) for answer in read_answers(whole)]
    damaged = content[:place] + noise + content[place + removed :]
    path = tmp_path / NAME
    path.write_bytes(damaged)
    log = AccuracyLog.read(path)
    assert log.entries <= len(answers)
    try:
        found = [(answer.sample, answer.tokens.tobytes()) for answer in read_answers(path)]
    except FolderError:
        return
    assert not log.problems and not log.is_truncated
    assert found == answers or damaged.split() != content.split()


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
    assert file_digest(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


@pytest.mark.parametrize(("width", "mismatches"), [(4, 0), (8, 0), (2, 2)])
def test_tokens_of_either_width_are_counted(tmp_path: Path, width: int, mismatches: int) -> None:
    log = tmp_path / "log.json"
    rows = [
        f'{{ "seq_id" : {i}, "qsl_idx" : {i}, "data" : "{"07" * width * 3}", "token_count" : 3 }}'
        for i in range(2)
    ]
    log.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    found = AccuracyLog.read(log)
    assert (found.count_mismatches, found.blank, found.tokens) == (mismatches, 0, 6)
    assert found.token_bytes == (8 if width == 8 else 4)
