"""The verdict on one test, from LoadGen's log and from what the harness saw; for show, package and check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness_llm.core import EventStatus, Mode, counted
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.vllm_decoding import has_made_up_weights
from harness_llm.errors import DatasetError, FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG, SUMMARY_LOG
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.agreement import disagreements
from harness_llm.results.events import sound_events
from harness_llm.results.observed import told_steps
from harness_llm.results.paths import EVENTS_NPY, config_file
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import TestRecord
from harness_llm.results.sealed import broken_seals

_LEAST_TOKENS = 2  # LoadGen counts an answer of one token as an error
_ENOUGH = 4  # answers, before their likeness says anything


@dataclass(frozen=True)
class TestVerdict:
    """What speaks against one test, a sentence each, without the sentence's end.

    Attributes:
        invalid: By LoadGen itself.
        mismeasured: By the harness's own events and answers: the figures are not those of what happened.
    """

    __test__ = False  # no pytest class

    invalid: tuple[str, ...] = ()
    mismeasured: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of it; the test is VALID where there is none."""
        return (*self.invalid, *self.mismeasured)


def judge(folder: Path, record: TestRecord) -> TestVerdict:
    """Judge a test that LoadGen ended by itself, from its files; nothing that they may hold is raised.

    Args:
        folder: The test's folder, `<run>/<Scenario>/<test>`.
        record: Its test.json.
    """
    log = DetailLog.read(folder / DETAIL_LOG)
    return TestVerdict(tuple(_by_loadgen(folder, log)), tuple(_by_events(folder, record, log)))


def _is_performance(folder: Path) -> bool:
    """Whether the test's figures count; those of a compliance test do not."""
    return folder.name == Mode.PERFORMANCE.folder


def _by_loadgen(folder: Path, log: DetailLog) -> Iterator[str]:
    yield from (f"{DETAIL_LOG}: {problem.reason}" for problem in log.problems)
    if _is_performance(folder) and log.is_valid is not True:
        told = SummaryLog.read(folder / SUMMARY_LOG).reasons
        yield "LoadGen says INVALID: " + ("; ".join(told) or "no reason given")
    if log.error_lines:
        yield f"{log.error_lines} LoadGen errors, first: {log.errors[0].text}"


def _by_events(folder: Path, record: TestRecord, log: DetailLog) -> Iterator[str]:
    if _is_performance(folder) and (steps := told_steps(record.clock_steps_s)):
        yield steps
    broken = list(broken_seals(folder, record.digests))
    yield from broken
    events, problem = sound_events(folder / EVENTS_NPY)
    if events is None:
        if not any(said.startswith(f"{EVENTS_NPY}: ") for said in broken):
            yield f"{EVENTS_NPY}: {problem.reason if problem else 'cannot be read'}"
        return
    if _is_performance(folder) and not log.problems:
        yield from disagreements(events, log, record.scenario, record.target_qps)
    changed = sum(failure.changed_first_tokens for failure in record.survived)
    if changed and record.mode is Mode.PERFORMANCE:
        yield (
            f"{counted(changed, 'sample')} got another first token from the replica that took over than was "
            "reported first, which makes the TTFT wrong"
        )
    table = _asked(folder, record)
    yield from _impossible(events, record, table)
    yield from _lengths(events, table)
    yield from _contents(folder, events, record, table)


def _asked(folder: Path, record: TestRecord) -> SampleTable | None:
    """The samples that were asked; None where nothing says so."""
    if record.dataset is None:
        return None
    try:
        return SampleTable.load(folder.parent.parent / record.dataset.file.rpartition("/")[2])
    except DatasetError:
        return None


def _impossible(events: npt.NDArray[np.void], record: TestRecord, table: SampleTable | None) -> Iterator[str]:
    """Rows that no test writes: a file that was damaged or changed."""
    issued, first, finished = (events[name] for name in ("issued_ns", "first_token_ns", "finished_ns"))
    wrong = (events["sample"] < 0) | (np.diff(issued, prepend=issued[:1]) < 0)
    if table is not None:
        wrong |= events["sample"] >= len(table)
    wrong |= (first != 0) & (first < issued)
    is_done = events["status"] == EventStatus.FINISHED
    wrong |= is_done & ((finished < np.maximum(issued, first)) | (events["replica"] < 0))
    if record.answers:
        wrong |= events["replica"] >= len(record.answers)
    if wrong.any():
        yield (
            f"{EVENTS_NPY}: {counted(int(wrong.sum()), 'row')} cannot be, the "
            f"first row {int(wrong.argmax())}: no such sample or replica, answered before it was asked, "
            "or not in the order of issue"
        )


def _lengths(events: npt.NDArray[np.void], table: SampleTable | None) -> Iterator[str]:
    """Answers that are shorter or longer than was asked for."""
    tokens, samples = events["tokens"], events["sample"]
    least, most = np.full(len(tokens), _LEAST_TOKENS), np.full(len(tokens), np.iinfo(np.int64).max)
    if table is not None and len(samples) and samples.min() >= 0 and samples.max() < len(table):
        least = np.maximum(table.min_tokens[samples], _LEAST_TOKENS)
        most = table.max_tokens[samples]
    for wrong, what, bound in ((tokens < least, "fewer", least), (tokens > most, "more", most)):
        if wrong.any():
            row = int(np.argmax(wrong))
            yield (
                f"{int(wrong.sum()):,} of {len(tokens):,} answers have {what} tokens than was asked for, the "
                f"first that of sample {samples[row]}: {tokens[row]:,}, where the limit is {bound[row]:,}"
            )


def _contents(
    folder: Path, events: npt.NDArray[np.void], record: TestRecord, table: SampleTable | None
) -> Iterator[str]:
    """Answers that no sound engine gives, replica by replica."""
    for replica, seen in enumerate(record.answers):
        who = f"replica {replica}: "
        if seen.other_first_token:
            yield who + (
                f"{seen.other_first_token:,} of {seen.answers:,} answers begin with another token than was "
                "reported first, so their TTFT is not theirs"
            )
        if seen.odd_length:
            yield who + f"{seen.odd_length:,} of {seen.answers:,} answers are no whole tokens"
        if seen.no_token:
            yield who + f"{seen.no_token:,} of {seen.answers:,} answers have token ids that no vocabulary has"
        if seen.answers < _ENOUGH:
            continue
        if 2 * seen.one_token_id >= seen.answers and not _may_repeat(folder, record):
            yield who + (
                f"{seen.one_token_id:,} of {seen.answers:,} answers repeat a single token id; "
                "this comes from weights or a KV cache that hold NaN"
            )
        elif seen.are_alike and _prompts(events, replica, table) >= _ENOUGH:
            yield who + f"all {seen.answers:,} answers are the same, though the prompts differ"


def _may_repeat(folder: Path, record: TestRecord) -> bool:
    """Whether weights were made up; a small model then often repeats a token, without any NaN."""
    try:
        config = recorded_config(config_file(folder.parent.parent, record.scenario))
    except FolderError:
        return False
    return has_made_up_weights(config.get("llm_config") or {})


def _prompts(events: npt.NDArray[np.void], replica: int, table: SampleTable | None) -> int:
    """How many different prompts a replica answered, up to as many as matter."""
    samples = np.unique(events["sample"][events["replica"] == replica])
    if table is None or not len(samples) or samples[0] < 0 or samples[-1] >= len(table):
        return 0
    found: set[bytes] = set()
    for sample in samples:
        found.add(table.prompt(int(sample)).tobytes())
        if len(found) >= _ENOUGH:
            break
    return len(found)
