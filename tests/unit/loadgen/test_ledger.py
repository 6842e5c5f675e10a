from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.core import EventStatus
from harness_llm.errors import HostError, ProtocolError
from harness_llm.loadgen.ledger import Ledger
from harness_llm.results.events import EVENT_DTYPE, EVENT_FIELDS, read_events


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 999), st.integers(1, 999)), min_size=1, max_size=9), max_size=9
    ),
    capacity=st.integers(1, 8),
    outcomes=st.lists(
        st.tuples(st.sampled_from(["none", "first", "both", "last", "failed"]), st.integers(2, 99))
    ),
)
def test_every_row_is_read_back_as_written_whatever_the_growth(
    batches: list[list[tuple[int, int]]], capacity: int, outcomes: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.npy"
        ledger = Ledger(path, capacity)
        wanted: list[list[int]] = []
        for batch in batches:
            samples, prompts = zip(*batch, strict=True)
            ordinals = ledger.record_issue([2**40 + s for s in samples], samples, prompts)
            assert ordinals == range(len(wanted), len(wanted) + len(batch))
            wanted += [[sample, 0, 0, 0, prompt, EventStatus.ISSUED] for sample, prompt in batch]
            assert ledger.loadgen_ids(ordinals) == [2**40 + s for s in samples]
            assert [ledger.sample(o) for o in ordinals] == list(samples)
            assert [ledger.record_assignment(o, o % 3) for o in ordinals] == list(samples)
        batches_seen = [[0, 0] for _ in wanted]
        for ordinal, (outcome, tokens) in zip(range(len(wanted)), outcomes, strict=False):
            row, replica = wanted[ordinal], ordinal % 3
            if outcome in ("first", "both"):
                ledger.record_first_token(ordinal, replica, 10**6 + ordinal, 7 * ordinal)
                batches_seen[ordinal][0] = 7 * ordinal
                row[1], row[2], row[5] = replica, 10**6 + ordinal, EventStatus.FIRST_TOKEN
            if outcome in ("both", "last"):
                is_needed = outcome == "both"
                ledger.record_finish(ordinal, replica, tokens, 10**7, is_needed, 9 * ordinal)
                batches_seen[ordinal][1] = 9 * ordinal
                row[1], row[3], row[5] = replica, tokens, EventStatus.FINISHED
            if outcome == "failed":
                ledger.record_failure(ordinal, replica)
                row[1], row[5] = replica, EventStatus.FAILED
        live = read_events(path).copy()
        finished, tokens_done = ledger.finished, ledger.tokens
        ledger.close()
        events = read_events(path)
        assert (live == events).all()
        assert events.dtype.names == EVENT_FIELDS
        assert [list(row) for row in events[["first_batch_ns", "last_batch_ns"]].tolist()] == batches_seen
        columns = ["sample", "replica", "first_token_ns", "tokens", "prompt_tokens", "status"]
        assert [list(row) for row in events[columns].tolist()] == wanted
        assert (np.diff(events["issued_ns"]) >= 0).all()
        assert finished == (events["status"] == EventStatus.FINISHED).sum()
        assert tokens_done == events["tokens"].sum()
        assert path.stat().st_size == 512 + len(wanted) * EVENT_DTYPE.itemsize


def test_latencies_are_nanoseconds_since_issue_and_a_token_after_the_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "e.npy")
    for ordinal in ledger.record_issue([1, 2], [0, 0], [5, 5]):
        ledger.record_assignment(ordinal, 0)
    issued = int(read_events(tmp_path / "e.npy")["issued_ns"][0])
    assert ledger.record_first_token(0, 0, issued + 700) == 700
    assert ledger.record_finish(0, 0, 11, issued + 1700, needs_first_token=True) == 100
    assert ledger.record_finish(1, 0, 11, issued + 1700, needs_first_token=False) is None
    ledger.close()


_IMPOSSIBLE = {
    "first token of what was never issued": ([], "first", 9, "never issued"),
    "answer to what was never issued": ([], "finish", 9, "never issued"),
    "negative query": ([], "first", -1, "never issued"),
    "failure of what was never issued": ([], "fail", 9, "never issued"),
    "two first tokens": (["first"], "first", 0, "first_token"),
    "answer without first token": ([], "finish", 0, "issued"),
    "two answers": (["first", "finish"], "finish", 0, "finished"),
    "first token after the answer": (["first", "finish"], "first", 0, "finished"),
    "failure after the answer": (["first", "finish"], "fail", 0, "finished"),
    "answer after a failure": (["fail"], "finish", 0, "failed"),
    "first token after a failure": (["fail"], "first", 0, "failed"),
    "two failures": (["fail"], "fail", 0, "failed"),
}


@pytest.mark.parametrize("case", _IMPOSSIBLE)
def test_what_cannot_be_is_refused_and_changes_nothing(tmp_path: Path, case: str) -> None:
    before, last, ordinal, named = _IMPOSSIBLE[case]
    ledger = Ledger(tmp_path / "e.npy")
    ledger.record_issue([1], [0], [5])
    ledger.record_assignment(0, 2)

    def do(what: str, ordinal: int) -> None:
        if what == "first":
            ledger.record_first_token(ordinal, 2, 50)
        elif what == "finish":
            ledger.record_finish(ordinal, 2, 3, 60, needs_first_token=True)
        else:
            ledger.record_failure(ordinal, 2)

    for what in before:
        do(what, 0)
    rows, counts = read_events(tmp_path / "e.npy").copy(), (ledger.finished, ledger.tokens)
    with pytest.raises(ProtocolError, match=named) as caught:
        do(last, ordinal)
    assert "replica 2" in str(caught.value)
    assert (read_events(tmp_path / "e.npy") == rows).all()
    assert (ledger.finished, ledger.tokens) == counts
    ledger.close()


@pytest.mark.parametrize(("asked", "whom"), [(None, "no replica"), (1, "replica 1")])
@pytest.mark.parametrize("what", ["first", "finish", "fail"])
def test_only_the_replica_that_was_asked_may_answer(
    tmp_path: Path, what: str, asked: int | None, whom: str
) -> None:
    ledger = Ledger(tmp_path / "e.npy")
    ledger.record_issue([1, 2], [0, 0], [5, 5])
    if asked is not None:
        ledger.record_assignment(1, asked)
    rows = read_events(tmp_path / "e.npy").copy()
    with pytest.raises(ProtocolError, match=f"replica 0: answered query 1, which was sent to {whom}"):
        if what == "first":
            ledger.record_first_token(1, 0, 50)
        elif what == "finish":
            ledger.record_finish(1, 0, 3, 60, needs_first_token=False)
        else:
            ledger.record_failure(1, 0)
    assert (read_events(tmp_path / "e.npy") == rows).all()
    assert (ledger.finished, ledger.tokens) == (0, 0)
    ledger.close()


def test_an_empty_ledger_is_a_readable_file(tmp_path: Path) -> None:
    Ledger(tmp_path / "e.npy").close()
    assert len(read_events(tmp_path / "e.npy")) == 0


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "e.npy").write_bytes(b"measured before")
    with pytest.raises(OSError, match="exists"):
        Ledger(tmp_path / "e.npy")
    assert (tmp_path / "e.npy").read_bytes() == b"measured before"


def test_a_full_disk_is_said_when_the_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "e.npy", capacity=1)
    ledger.record_issue([1], [4], [5])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(HostError, match=r"e\.npy: no room for 2 events: .*No space left"):
            ledger.record_issue([2], [5], [5])
    assert read_events(tmp_path / "e.npy")["sample"].tolist() == [4]
    ledger.close()


def test_what_was_recorded_survives_kill_9_amid_growth(tmp_path: Path) -> None:
    code = """
import itertools, sys
from pathlib import Path
from harness_llm.loadgen.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), capacity=2)
for n in itertools.count():
    ledger.record_issue([n], [n], [n + 1])
    ledger.record_assignment(n, 1)
    if n % 3:
        ledger.record_first_token(n, 1, 10 * n)
    if n % 3 == 2:
        ledger.record_finish(n, 1, 5, 20 * n, True)
    if n == 3000:
        print("go", flush=True)
"""
    path = tmp_path / "events.npy"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"go\n"
        child.send_signal(signal.SIGKILL)
    events = read_events(path)
    assert len(events) > 3000
    whole = events[:-1]  # the kill may have hit the last one between two fields
    numbers = np.arange(len(whole))
    assert (whole["sample"] == numbers).all()
    assert (whole["prompt_tokens"] == numbers + 1).all()
    assert (whole["status"] == numbers % 3 + 1).all()
    assert (whole["first_token_ns"] == np.where(numbers % 3, 10 * numbers, 0)).all()
