"""Checks of an accuracy run's logs: whole data set, each sample once, hash, truncation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.check.loadgen_summary import summary_checks
from harness_llm.check.logfile import audit_check, error_check, loadgen_check, log_checks, seed_check
from harness_llm.check.replay import replay_checks
from harness_llm.check.ties import drawn_check, tie_checks
from harness_llm.core import Mode
from harness_llm.files import file_digest
from harness_llm.logs.draws import Draw
from harness_llm.logs.source import SUMMARY_LOG, read_text
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.accuracy_txt import HASH_LINE
from harness_llm.results.paths import ACCURACY_TXT, RUN_JSON

_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_TRUNCATE = f"{INFERENCE} tools/submission/truncate_accuracy_log.py"


def _whole(case: Case) -> Iterator[Check]:
    detail = case.accuracy_detail
    yield from log_checks(case, "accuracy", detail, "AccuracyOnly")
    yield from summary_checks(case, "accuracy", SummaryLog.read(case.accuracy / SUMMARY_LOG), detail)
    if not detail.values:
        return
    yield from error_check(case, "accuracy.errors", detail)
    yield from seed_check(case, "accuracy", detail)
    yield from loadgen_check(case, "accuracy", detail)
    yield from audit_check(case, "accuracy", detail)
    yield from replay_checks(case, "accuracy", detail)
    if Mode.PERFORMANCE in case.modes and case.detail.values:
        same = not case.rules or case.rules.samples.accuracy == case.rules.samples.performance
        yield from tie_checks(case, "accuracy", detail, is_same_data=same)


def _sample_count(case: Case) -> Iterator[Check]:
    detail = case.accuracy_detail
    found = detail.integer("effective_accuracy_sample_count")
    if found is None:  # LoadGen before v6.0 does not log it (checks/accuracy_check.py lines 300-303)
        found = detail.integer("qsl_reported_total_count")
    wanted = case.rules.samples.accuracy if case.rules else case.samples
    if wanted is None or not detail.values:
        return
    yield case.check(
        "accuracy.sample-count",
        found == wanted,
        found,
        wanted,
        source=case.rules.samples.source if case.rules else RUN_JSON,
        remedy="Run accuracy mode over the whole data set.",
        path=detail.path,
    )


def _answers(case: Case) -> Iterator[Check]:
    """The answers: each sample once and within the data set; whole in a run, truncated in a tree."""
    log = case.accuracy_log
    wanted = case.rules.samples.accuracy if case.rules else case.samples
    problems = "; ".join(map(str, log.problems))
    yield case.check(
        "accuracy.answers",
        not log.problems and (log.entries > 0 or log.is_truncated),
        problems or f"{log.entries} whole answers{', truncated' if log.is_truncated else ''}",
        "LoadGen's accuracy log",
        source=f"{_CHECKER}/constants.py line 1404",
        remedy="Copy the log as LoadGen wrote it, truncated by `package` only.",
        path=log.path,
    )
    if not log.entries:
        return
    outside = sorted(index for index in log.samples if wanted is not None and index >= wanted)
    complete = log.is_truncated or wanted is None or len(log.samples) == wanted
    yield case.check(
        "accuracy.answered-samples",
        not outside and not log.repeated and complete,
        f"{len(log.samples)} samples, {log.repeated} twice, outside the data set: {outside[:5] or 'none'}",
        f"each of {wanted if wanted is not None else 'the'} samples once",
        source=f"{INFERENCE} loadgen/loadgen.cc lines 283-290",
        remedy="Put the accuracy log of this benchmark's own accuracy run here.",
        path=log.path,
    )
    yield case.check(
        "accuracy.token-counts",
        log.count_mismatches == 0 and log.tokens is not None,
        f"{log.count_mismatches} answers whose token_count is not the length of their data"
        if log.tokens is not None
        else "answers without token_count",
        "token_count equal to the tokens in data",
        source=f"{INFERENCE} compliance/TEST06/run_verification.py lines 97-103",
        remedy="Report n_tokens as the number of token ids in the answer.",
        path=log.path,
    )
    yield case.check(
        "accuracy.blank-answers",
        log.blank == 0,
        f"{log.blank} answers of which every token id is 0",
        "token ids that a model generated",
        source=f"{INFERENCE} loadgen/logging.cc, AsyncLog::LogAccuracy",
        remedy="Put the accuracy log here as LoadGen wrote it.",
        path=log.path,
    )
    draw = Draw.of_log(case.accuracy_detail)
    yield from drawn_check(case, "accuracy", log, {"its detail log": draw} if draw else {})


def _truncation(case: Case) -> Iterator[Check]:
    if case.layout != "tree":
        return
    limit = int(rules.table().run.max_accuracy_log_bytes.value)
    log = case.accuracy_log
    yield case.check(
        "accuracy.truncated",
        0 < log.size <= limit,
        f"{log.size} bytes",
        f"at most {limit} bytes",
        source=rules.table().run.max_accuracy_log_bytes.source,
        remedy="Package the run again; `package` truncates accuracy logs and keeps their hash.",
        path=log.path,
    )


def _hash(case: Case) -> Iterator[Check]:
    """The hash line: there, a SHA-256, and that of the log where the log is still whole."""
    if case.layout != "tree":
        return
    path = case.accuracy / ACCURACY_TXT
    text, _ = read_text(path)
    found = HASH_LINE.findall(text)
    good = len(found) == 1 and re.fullmatch(r"[0-9a-f]{64}", found[0]) is not None and int(found[0], 16) != 0
    wanted = "one line hash=<SHA-256 of the whole accuracy log>"
    log = case.accuracy_log
    if good and not log.is_truncated and log.entries and not log.problems:
        own = file_digest(log.path)
        good, wanted = found[0] == own, f"hash={own}"
    yield case.check(
        "accuracy.hash",
        good,
        f"hash={found[0]}" if len(found) == 1 else f"{len(found)} hash lines",
        wanted,
        source=f"{_CHECKER}/checks/accuracy_check.py lines 154-156, 199-201; {_TRUNCATE}",
        remedy="Keep the one hash line of the log that was scored; `package` writes it.",
        path=path,
    )


ACCURACY_CHECKS = (_whole, _sample_count, _answers, _truncation, _hash)
