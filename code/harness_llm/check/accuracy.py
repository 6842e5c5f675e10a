"""Checks of an accuracy run's logs: whole data set, each sample once, hash, truncation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check, check_name
from harness_llm.check.loadgen_summary import summary_checks
from harness_llm.check.logfile import audit_check, error_check, loadgen_check, log_checks, seed_check
from harness_llm.check.replay import power_time, replay_checks
from harness_llm.check.ties import drawn_check, tie_checks
from harness_llm.core import Mode
from harness_llm.files import file_digest
from harness_llm.logs.accuracy_log import CUT_BYTES, AccuracyLog
from harness_llm.logs.detail import SIX_DIGITS
from harness_llm.logs.draws import Draw
from harness_llm.logs.schedule import MOST_QUERIES, logged_ends_ns
from harness_llm.logs.source import SUMMARY_LOG, read_text
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.accuracy_txt import HASH_LINE
from harness_llm.results.agreement import logged_schedule
from harness_llm.results.paths import ACCURACY_TXT, RUN_JSON

_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_TRUNCATE = f"{INFERENCE} tools/submission/truncate_accuracy_log.py"

_BY_THE_LOG = 0.001  # seconds: its dates have three digits of one
_FASTER = 2  # times as fast as the performance run; 1.02 at most in 336 published Offline results


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
    yield from possible_answers(case, "accuracy", log)
    draw = Draw.of_log(case.accuracy_detail)
    yield from drawn_check(case, "accuracy", log, {"its detail log": draw} if draw else {})


def _clock(case: Case) -> Iterator[Check]:
    """An accuracy run takes as long as its schedule (Server), or as its system needs (Offline)."""
    detail = case.accuracy_detail
    begin, end = power_time(detail, "begin"), power_time(detail, "end")
    least, why = _least_seconds(case)
    if begin is None or end is None or least is None:
        return
    lasted = (end - begin).total_seconds()
    # LoadGen waits until each query of Server is due. That answers come as fast as before is asked by nobody.
    yield case.check(
        "accuracy.clock",
        lasted >= least or (False if case.scenario.is_timed_per_token else None),
        f"{lasted:.3f} s by the log's dates",
        f"at least {least:.3f} s, {why}",
        source=f"{INFERENCE} loadgen/loadgen.cc, RunAccuracyMode (power_begin, power_end)",
        remedy="Put the log of this benchmark's own accuracy run here, as LoadGen wrote it.",
        path=detail.path,
    )


def _least_seconds(case: Case) -> tuple[float | None, str]:
    detail = case.accuracy_detail
    if case.scenario.is_timed_per_token:
        count = detail.integer("generated_query_count") or 0
        schedule = logged_schedule(detail, case.settings.get("target_qps"))
        if schedule is None or not 0 < count <= MOST_QUERIES:
            return None, ""
        due_s = logged_ends_ns(*schedule, count)[0] / 1e9
        # Of a rate that user.conf does not give, the log has six digits.
        return due_s * (1 - SIX_DIGITS) - _BY_THE_LOG, f"when the last of its {count} queries is due"
    rate, count = case.detail.samples_per_second, detail.integer("generated_samples_per_query") or 0
    if not case.rules or not rate or not math.isfinite(rate) or rate <= 0:
        return None, ""
    return count / rate / _FASTER, f"at {_FASTER} times the rate of the performance run"


def possible_answers(case: Case, area: str, log: AccuracyLog) -> Iterator[Check]:
    """Whether a model can have generated the answers: token ids that are some, a text for each sample.

    Args:
        case: The result.
        area: Beginning of the check's name.
        log: The answers, possibly cut.
    """
    wrong = [
        f"{count} answers {what}"
        for count, what in (
            (log.blank, "of which every token id is 0"),
            (log.foreign, "with token ids that no model has"),
        )
        if count
    ]
    alike = log.alike if 2 * log.alike >= log.entries > 1 else 0
    yield case.check(
        check_name(area, "possible-answers"),
        False if wrong else (None if alike else True),
        "; ".join(wrong) or f"{log.entries} answers, {alike} of them another sample's to the last token",
        "token ids that a model generated for each sample",
        source=f"{INFERENCE} loadgen/logging.cc, AsyncLog::LogAccuracy",
        remedy="Put the log of answers here as LoadGen wrote it.",
        path=log.path,
    )


def _truncation(case: Case) -> Iterator[Check]:
    if case.layout != "tree":
        return
    limit = int(rules.table().run.max_accuracy_log_bytes.value)
    log = case.accuracy_log
    yield case.check(
        "accuracy.truncated",
        0 < log.size <= limit and (not log.is_truncated or _plain_size(log.path) == CUT_BYTES),
        f"{log.size} bytes" + (", cut" if log.is_truncated else ""),
        f"at most {limit} bytes, {CUT_BYTES} where it was cut",
        source=f"{rules.table().run.max_accuracy_log_bytes.source}; {_TRUNCATE} lines 98-110",
        remedy="Package the run again; `package` truncates accuracy logs and keeps their hash.",
        path=log.path,
    )


def _plain_size(path: Path) -> int:
    """Bytes of a small file with plain line ends: the log may have been cut where they are two characters."""
    return len(path.read_bytes().replace(b"\r\n", b"\n"))


def _hash(case: Case) -> Iterator[Check]:
    """The hash line: there, a SHA-256, and that of the log where the log is still whole."""
    if case.layout != "tree":
        return
    path = case.accuracy / ACCURACY_TXT
    text, _ = read_text(path)
    found = HASH_LINE.findall(text)
    good: bool | None = bool(found) and all(_is_digest(one) for one in found)
    wanted = "one line hash=<SHA-256 of the whole accuracy log>"
    log = case.accuracy_log
    if good and not log.is_truncated and log.entries and not log.problems:
        own = file_digest(log.path)
        good, wanted = own in found, f"hash={own}"
    if good and len(set(found)) > 1:
        good = None  # truncate_accuracy_log.py adds a line for each log that it cuts, and leaves older ones
    yield case.check(
        "accuracy.hash",
        good,
        f"hash={found[0]}" if len(found) == 1 else f"{len(found)} hash lines",
        wanted,
        source=f"{_CHECKER}/checks/accuracy_check.py lines 154-156, 199-201; {_TRUNCATE}",
        remedy="Keep the one hash line of the log that was scored; `package` writes it.",
        path=path,
    )


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None and int(text, 16) != 0


ACCURACY_CHECKS = (_whole, _clock, _sample_count, _answers, _truncation, _hash)
