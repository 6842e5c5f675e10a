"""Checks of an accuracy run: whole data set, scores, length window, hash, truncation."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from harness_llm import rules
from harness_llm.check.logfile import error_check, log_checks, seed_check
from harness_llm.check.model import INFERENCE
from harness_llm.logs.accuracy_log import file_hash
from harness_llm.logs.source import file_problem, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_llm.check.case import Case
    from harness_llm.check.model import Check

__all__ = ["ACCURACY_CHECKS", "read_scores"]

_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_TRUNCATE = f"{INFERENCE} tools/submission/truncate_accuracy_log.py"
_HASH = re.compile(r"^hash=([\w\d]+)$", re.MULTILINE)
# As the official checker reads accuracy.txt: constants.py lines 1817-1827.
_SCORE = re.compile(r"'(\w+)':\s+'?([0-9][0-9.]*)'?(?=[,}\s])")
_NUMPY = re.compile(r"np\.\w+\(")


def read_scores(text: str) -> dict[str, float]:
    """The scores in an accuracy.txt as the official checker would see them, the last of each name."""
    found = {}
    for name, value in _SCORE.findall(text):
        try:
            found[name] = float(value)
        except ValueError:
            continue
    return found


def _whole(case: Case) -> Iterator[Check]:
    yield from log_checks(case, "accuracy", case.accuracy_detail, "AccuracyOnly")
    if case.accuracy_detail.values:
        yield from error_check(case, "accuracy", case.accuracy_detail)
        yield from seed_check(case, "accuracy", case.accuracy_detail)
    summary = case.accuracy / "mlperf_log_summary.txt"
    problem = file_problem(summary)
    yield case.check(
        "accuracy.summary",
        problem is None,
        problem or "there",
        "LoadGen's summary",
        source=f"{_CHECKER}/constants.py line 1404",
        remedy="Copy the summary as LoadGen wrote it.",
        path=summary,
    )


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
        source=case.rules.samples.source if case.rules else "run.json",
        remedy="Run accuracy mode over the whole data set.",
        path=detail.path,
    )


def _answers(case: Case) -> Iterator[Check]:
    """The answers: each sample once and within the data set; whole in a run, truncated in a tree."""
    log = case.accuracy_log
    wanted = case.rules.samples.accuracy if case.rules else case.samples
    problems = "; ".join(map(str, log.problems[:3]))
    yield case.check(
        "accuracy.answers",
        not log.problems and log.entries > 0,
        problems or f"{log.entries} whole answers",
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
    path = case.accuracy / "accuracy.txt"
    text, _ = read_text(path)
    found = _HASH.findall(text)
    good = len(found) == 1 and re.fullmatch(r"[0-9a-f]{64}", found[0]) is not None
    wanted = "one line hash=<SHA-256 of the whole accuracy log>"
    log = case.accuracy_log
    if good and not log.is_truncated and log.entries and not log.problems:
        own = file_hash(log.path)
        good, wanted = found[0] == own, f"hash={own}"
    yield case.check(
        "accuracy.hash",
        good,
        f"hash={found[0]}" if len(found) == 1 else f"{len(found)} hash lines",
        wanted,
        source=f"{_CHECKER}/checks/accuracy_check.py lines 154-156, 199-201; {_TRUNCATE}",
        remedy="Package the run again; `package` writes the hash of the log that was scored.",
        path=path,
    )


def _is_unscored(case: Case) -> bool:
    """Whether nobody scored the answers: simulated ones, or an own benchmark without references."""
    if case.rules is not None and not case.is_simulated:
        return False
    text, problem = read_text(case.accuracy / "accuracy.txt")
    if problem:
        return case.layout == "run" and not (case.accuracy / "accuracy.json").exists()
    return "not scored" in text and not read_scores(text)


def _how_to_score(case: Case) -> str:
    """The remedy for a missing score: the harness scores ROUGE; other scores come from MLCommons' scripts."""
    if case.rules is None or all(row.metric.startswith("rouge") for row in case.rules.accuracy):
        return "Score the accuracy log."
    return (
        "Score the log with MLCommons' own script and take its score over: "
        "python -m harness_llm.run.official_score (docs/accuracy.md)."
    )


def _scores(case: Case) -> Iterator[Check]:
    path = case.accuracy / "accuracy.txt"
    if _is_unscored(case):
        yield case.check("accuracy.scored", None, "the answers were not scored", "scores, if there are any")
        return
    text, problem = read_text(path)
    yield case.check(
        "accuracy.file",
        problem is None,
        str(problem or "there"),
        "accuracy.txt",
        source=f"{_CHECKER}/constants.py line 1404",
        remedy=_how_to_score(case),
        path=path,
    )
    if problem:
        return
    yield case.check(
        "accuracy.form",
        not _NUMPY.search(text) and bool(read_scores(text)),
        "scores wrapped in np.…(…)" if _NUMPY.search(text) else f"{len(read_scores(text))} scores",
        "plain numbers, as 'rouge1': 44.43",
        source=f"{_CHECKER}/constants.py lines 1804-1831",
        remedy="Write plain Python numbers, not numpy's.",
        path=path,
    )
    if case.rules:
        yield from _official_scores(case, read_scores(text))


def _official_scores(case: Case, scores: dict[str, float]) -> Iterator[Check]:
    assert case.rules is not None
    path = case.accuracy / "accuracy.txt"
    for row in case.rules.accuracy:
        found = scores.get(row.metric)
        met = found is not None and math.isfinite(found) and found >= row.gate
        yield case.check(
            f"accuracy.{row.metric}",
            met if case.is_strict else (met or None),
            found,
            f"at least {row.gate:.4f} ({row.factor:g} of {row.reference:g})",
            source=row.source,
            remedy="Use a more accurate checkpoint or number format; open takes any accuracy.",
            path=path,
        )
    window = case.rules.length
    found = scores.get(window.metric)
    if found is None and window.low is None:
        return
    fits = found is not None and (window.low is None or found >= window.low) and found <= window.high
    yield case.check(
        f"accuracy.{window.metric}",
        fits if case.is_strict else (fits or None),
        found,
        f"{'' if window.low is None else f'{window.low:.3f} to '}{window.high:.3f}",
        source=window.source,
        remedy="Check end-of-sequence handling and output limits; answers are too long or too short.",
        path=path,
    )


def _record(case: Case) -> Iterator[Check]:
    """accuracy.json of a run: the harness's own scores against its gates and the accuracy log."""
    if case.layout != "run" or _is_unscored(case):
        return
    path = case.accuracy / "accuracy.json"
    text, problem = read_text(path)
    record = _json_object(text)
    yield case.check(
        "accuracy.record",
        record is not None,
        str(problem or ("readable" if record is not None else "no JSON object")),
        "the scores as JSON",
        remedy=_how_to_score(case),
        path=path,
    )
    if record is None:
        return
    scores, gates = record.get("scores"), record.get("gates")
    scores = scores if isinstance(scores, dict) else {}
    gates = gates if isinstance(gates, dict) else {}
    for metric, gate in gates.items():
        found = scores.get(metric)
        numbers = isinstance(found, int | float) and isinstance(gate, int | float)
        yield case.check(
            f"accuracy.{metric}" if not case.rules else f"accuracy.own-{metric}",
            numbers and found >= gate,
            found,
            f"at least {gate}",
            source="the reference of this benchmark",
            remedy="Find out what changed the answers: checkpoint, number format, template or limits.",
            path=path,
        )
    if not gates:
        yield case.check("accuracy.gate", None, "scored without a gate", "a reference accuracy", path=path)
    yield from _record_agrees(case, record)


def _record_agrees(case: Case, record: dict[str, Any]) -> Iterator[Check]:
    mean, logged = record.get("tokens_per_sample"), case.accuracy_log.tokens_per_sample
    count = record.get("samples")
    agrees = (
        isinstance(mean, int | float)
        and logged is not None
        and math.isclose(mean, logged, abs_tol=0.051)
        and count == len(case.accuracy_log.samples)
    )
    yield case.check(
        "accuracy.record-agrees",
        agrees,
        f"{mean} tokens a sample over {count} samples",
        f"{logged} over {len(case.accuracy_log.samples)}, as the log has it",
        remedy="Score this accuracy log again.",
        path=case.accuracy / "accuracy.json",
    )


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


ACCURACY_CHECKS = (_whole, _sample_count, _answers, _truncation, _hash, _scores, _record)
