"""Checks of an accuracy run's scores: their form, gates and length window, the harness's own record."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.logs.source import read_text
from harness_llm.results.accuracy_txt import official_lines, official_scores, wrapped_numbers
from harness_llm.results.paths import ACCURACY_JSON, ACCURACY_TXT
from harness_llm.results.reading import sound_record
from harness_llm.results.records import AccuracyRecord

_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_SHARE = re.compile(r"(FINAL SCORE: +)?(\d+\.\d+)% \((\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)\)")


def _is_unscored(case: Case) -> bool:
    """Whether nobody scored the answers: simulated ones, or an own benchmark without references."""
    if case.rules is not None and not case.is_simulated:
        return False
    text, problem = read_text(case.accuracy / ACCURACY_TXT)
    if problem:
        return case.layout == "run" and not (case.accuracy / ACCURACY_JSON).exists()
    return "not scored" in text and not official_scores(text)


def _how_to_score(case: Case) -> str:
    """The remedy for a missing score: the harness's own, or MLCommons' script."""
    if case.rules is None or case.rules.scoring.metric is not None:
        return "Score the accuracy log: harness-llm score RUN."
    script = rules.expand_source(case.rules.scoring.script)
    return f"Score the log with {script} and take its output over: harness-llm score RUN --from OUTPUT.txt."


def _scores(case: Case) -> Iterator[Check]:
    path = case.accuracy / ACCURACY_TXT
    if _is_unscored(case):
        yield case.check("accuracy.scored", None, "the answers were not scored", "scores, if there are any")
        return
    text, problem = read_text(path)
    yield case.check(
        "accuracy.file",
        problem is None,
        str(problem or "there"),
        ACCURACY_TXT,
        source=f"{_CHECKER}/constants.py line 1404",
        remedy=_how_to_score(case),
        path=path,
    )
    if problem:
        return
    judged = {row.metric for row in case.rules.accuracy} | {case.rules.length.metric} if case.rules else None
    wrapped = [name for name in wrapped_numbers(text) if judged is None or name in judged]
    yield case.check(
        "accuracy.form",
        not wrapped and bool(official_scores(text)),
        f"{', '.join(wrapped)} wrapped in np.…(…)" if wrapped else f"{len(official_scores(text))} scores",
        "plain numbers, as 'rouge1': 44.43",
        source=f"{_CHECKER}/constants.py lines 1804-1831",
        remedy="Write plain Python numbers, not numpy's.",
        path=path,
    )
    if case.rules:
        yield from _official_scores(case, official_lines(text))
        yield _figures(case, text)


def _official_scores(case: Case, scores: dict[str, list[float]]) -> Iterator[Check]:
    """Every line with a score must meet its gate: a better one after it mends nothing."""
    assert case.rules is not None
    path = case.accuracy / ACCURACY_TXT
    for row in case.rules.accuracy:
        lines = scores.get(row.metric, [])
        found = ", then ".join(map(str, lines)) if lines else None
        met = bool(lines) and all(math.isfinite(score) and score >= row.gate for score in lines)
        yield case.check(
            f"accuracy.{row.metric}",
            met if case.is_strict else (met or None),
            found,
            f"at least {row.gate:.4f} ({row.factor:g} of {row.reference:g})",
            source=row.source,
            remedy="Use a more accurate checkpoint or number format; open takes any accuracy.",
            path=path,
        )
    yield from _possible(case, scores)
    window = case.rules.length
    lines = scores.get(window.metric, [])
    if not lines and window.low is None:
        return
    found = ", then ".join(map(str, lines)) if lines else None
    fits = bool(lines) and all((window.low is None or n >= window.low) and n <= window.high for n in lines)
    yield case.check(
        f"accuracy.{window.metric}",
        fits if case.is_strict else (fits or None),
        found,
        f"{'' if window.low is None else f'{window.low:.3f} to '}{window.high:.3f}",
        source=window.source,
        remedy="Check end-of-sequence handling and output limits; answers are too long or too short.",
        path=path,
    )


def _possible(case: Case, scores: dict[str, list[float]]) -> Iterator[Check]:
    """Shares in percent are at most 100, and no n-gram or sequence is found more often than its words."""
    assert case.rules is not None
    shares = [(row.metric, score) for row in case.rules.accuracy for score in scores.get(row.metric, [])]
    wrong = [f"{name} {value}" for name, value in shares if not 0 <= value <= 100]
    words = max((value for name, value in shares if name == "rouge1"), default=100.0)
    wrong += [
        f"{name} {value} above rouge1 {words}"
        for name, value in shares
        if name.startswith("rouge") and value > words
    ]
    yield case.check(
        "accuracy.possible",
        not wrong,
        "; ".join(wrong) or "possible",
        "scores in percent, and rouge1 the highest of its kind",
        source=case.rules.scoring.script,
        remedy=_how_to_score(case),
        path=case.accuracy / ACCURACY_TXT,
    )


def _figures(case: Case, text: str) -> Check:
    """What the scripts print beside a score follows from the same answers: sums, means, and counts."""
    wrong = [fault for line in text.splitlines() for fault in _line_faults(case, official_scores(line))]
    exact = official_scores(text).get("exact_match")
    for final, percent, part, whole in _SHARE.findall(text):
        total = float(whole) or math.inf
        made, rounded = 100 * float(part) / total, 0.5 / total  # both parts have two decimals at least
        if not math.isclose(made, float(percent), abs_tol=rounded + 0.0051):
            wrong.append(f"{percent} % for {part} of {whole}")
        if final and exact is not None and not math.isclose(made, exact, abs_tol=rounded + 0.00051):
            wrong.append(f"exact_match {exact} for {part} of {whole}")
    return case.check(
        "accuracy.figures",
        not wrong,
        "; ".join(wrong) or "agree",
        "scores and the counts beside them that follow from one another",
        source=rules.expand_source(case.rules.scoring.source) if case.rules else "",
        remedy=_how_to_score(case),
        path=case.accuracy / ACCURACY_TXT,
    )


def _line_faults(case: Case, scores: dict[str, float]) -> Iterator[str]:
    assert case.rules is not None
    answers, tokens, mean = (scores.get(name) for name in ("gen_num", "gen_tok_len", "tokens_per_sample"))
    if answers is not None and answers != case.rules.samples.accuracy:
        yield f"gen_num {answers:g} for {case.rules.samples.accuracy} samples"
    made = tokens / answers if answers and tokens is not None else None
    if made is not None and mean is not None and not math.isclose(made, mean, abs_tol=0.051):  # one decimal
        yield f"tokens_per_sample {mean} for {tokens:g} tokens of {answers:g} answers"
    for name, total in case.rules.scoring.counted.items():
        score = scores.get(name)
        if score is None:
            continue
        digits = len(str(score).partition(".")[2])
        right = score / 100 * total
        if abs(right - round(right)) > 0.5 * 10**-digits / 100 * total + 1e-3:
            yield f"{name} {score}: {right:.2f} right answers of {total}"


def _record(case: Case) -> Iterator[Check]:
    """accuracy.json of a run: the harness's own scores against its gates and the accuracy log."""
    if case.layout != "run" or _is_unscored(case):
        return
    path = case.accuracy / ACCURACY_JSON
    record, problems = sound_record(path, AccuracyRecord)
    yield case.check(
        "accuracy.record",
        not problems,
        "; ".join(problems) or "readable",
        "the scores as JSON",
        remedy=_how_to_score(case),
        path=path,
    )
    if record is None:
        return
    for metric, gate in record.gates.items():
        found = record.scores.get(metric)
        yield case.check(
            f"accuracy.{metric}" if not case.rules else f"accuracy.own-{metric}",
            found is not None and found >= gate,
            found,
            f"at least {gate}",
            source="the reference of this benchmark",
            remedy="Find out what changed the answers: checkpoint, number format, template or limits.",
            path=path,
        )
    if not record.gates:
        yield case.check("accuracy.gate", None, "scored without a gate", "a reference accuracy", path=path)
    yield from _record_agrees(case, record)


def _record_agrees(case: Case, record: AccuracyRecord) -> Iterator[Check]:
    mean, logged, count = record.tokens_per_sample, case.accuracy_log.tokens_per_sample, record.samples
    agrees = (
        logged is not None
        and math.isclose(mean, logged, abs_tol=0.051)
        and count == len(case.accuracy_log.samples)
    )
    yield case.check(
        "accuracy.record-agrees",
        agrees,
        f"{mean} tokens a sample over {count} samples",
        f"{logged} over {len(case.accuracy_log.samples)}, as the log has it",
        remedy="Score this accuracy log again.",
        path=case.accuracy / ACCURACY_JSON,
    )


SCORE_CHECKS = (_scores, _record)
