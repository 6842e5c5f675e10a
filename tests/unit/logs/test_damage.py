"""Whatever bytes a log or an event file holds, its reader says so as data: it never raises."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.recorded import unpack
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import read_lines, read_text
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.events import EVENT_DTYPE, sound_events

ANY_CASE = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}
READERS: dict[str, Callable[[Path], Any]] = {
    "mlperf_log_detail.txt": DetailLog.read,
    "mlperf_log_summary.txt": SummaryLog.read,
    "mlperf_log_accuracy.json": AccuracyLog.read,
    "events.npy": sound_events,
    "lines": lambda path: list(read_lines(path)),
    "text": read_text,
}


def npy(header: str, body: bytes = b"") -> bytes:
    """An array file whose header says what it likes."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


DESCR = str(EVENT_DTYPE.descr)
EVENT_FILES = {
    "header of brackets": npy("{" * 100),
    "header of an unclosed text": npy("{'descr': '''"),
    "header of an open bracket and a bad indent": npy("(\n  1\n 2"),
    "header with a null byte": npy("{'descr': '\0'}"),
    "header of a number": npy("1"),
    "shape of 10^30": npy(f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (10**30,)}}"),
    "shape of thirty digits": npy(f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': ({'9' * 30},)}}"),
    "shape below zero": npy(f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (-1,)}}"),
    "more rows than the file": npy(f"{{'descr': {DESCR}, 'fortran_order': False, 'shape': (9,)}}", b"x" * 70),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "an archive of arrays": archive(),
    "an archive that is cut": archive()[:40],
    "only the two letters of an archive": b"PK\x03\x04",
    "a pickle": b"\x80\x04N.",
    "two dimensions": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1)}", b"x" * 8),
}


@pytest.mark.parametrize("content", EVENT_FILES.values(), ids=EVENT_FILES.keys())
def test_a_damaged_event_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.npy"
    path.write_bytes(content)
    events, problem = sound_events(path)
    assert events is None and problem is not None
    assert problem.path == path and problem.reason.startswith("not an events file: ")


def detail_line(value: str, *, pid: str = "1", key: str = "k") -> str:
    metadata = f'{{"is_error": false, "is_warning": false, "pid": {pid}}}'
    return f':::MLLOG {{"key": "{key}", "value": {value}, "metadata": {metadata}}}\n'


def test_a_process_id_without_end_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(detail_line("1", pid="1e999"))
    assert "no complete JSON record" in str(DetailLog.read(path).problems[0])


def test_a_number_of_four_hundred_digits_is_none_of_loadgens(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    names = ("result_tokens_per_second", "result_first_token_99.00_percentile_latency_ns")
    path.write_text("".join(detail_line("9" * 400, key=name) for name in names))
    log = DetailLog.read(path)
    assert log.value(names[0]) == int("9" * 400)
    assert log.tokens_per_second is None and log.ttft_p99_ns is None
    path.write_text(detail_line(str(2**64 - 1), key="effective_schedule_rng_seed"))
    assert DetailLog.read(path).integer("effective_schedule_rng_seed") == 2**64 - 1


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e999"])
def test_a_percentile_without_end_is_no_latency(tmp_path: Path, number: str) -> None:
    path = tmp_path / "mlperf_log_summary.txt"
    path.write_text(f"99.00 percentile latency (ns) : {number}\n99.90 percentile latency (ns) : 7\n")
    assert SummaryLog.read(path).latencies_ns == {"latency": {"99.90": 7}}


def test_errors_of_five_thousand_digits_are_no_count(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_summary.txt"
    path.write_text(f"{'7' * 5000} ERRORS encountered. See detailed log.\n")
    log = SummaryLog.read(path)
    assert log.errors is None and log.problems


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    server = unpack("toy-server-valid", tmp_path_factory.mktemp("server"))
    answers = unpack("toy-server-audit", tmp_path_factory.mktemp("audit")) / "mlperf_log_accuracy.json"
    names = [name for name in READERS if (server / name).exists()]
    return {name: (server / name).read_bytes() for name in names} | {answers.name: answers.read_bytes()}


SPLICES = (
    b"9" * 5000,
    b"[" * 5000,
    b"1e999",
    b"NaN",
    b'"',
    b"\\ud800",
    b"\0",
    b"\xff\xfe",
    b"-",
    b"{}",
    b"\n",
)


@pytest.mark.parametrize("name", [name for name in READERS if "." in name])
@settings(max_examples=60, **ANY_CASE)
@given(place=st.floats(0, 1), length=st.integers(0, 40), splice=st.sampled_from(SPLICES))
def test_a_recorded_file_with_something_else_in_it(
    recorded: dict[str, bytes], tmp_path: Path, name: str, place: float, length: int, splice: bytes
) -> None:
    whole = recorded[name]
    # Most damage must meet the beginning of an array file, where its header is.
    at = int(place * (200 if name.endswith(".npy") else len(whole)))
    path = tmp_path / name
    path.write_bytes(whole[:at] + splice + whole[at + length :])
    READERS[name](path)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, **ANY_CASE)
@given(content=st.binary(max_size=300))
@example(content=b"\xef\xbb\xbf[")
@example(content=json.dumps({"a": 1}).encode())
def test_any_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    READERS[name](path)
