"""TEST06: first tokens are those of the answers, answers end once, and are as long as reported."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness_llm.compliance.seam import AuditTest, Evidence, Recheck, VerdictLine, Verification
from harness_llm.core import Scenario
from harness_llm.logs.accuracy_log import (
    AccuracyEntry,
    AccuracyLog,
    LoggedAnswer,
    iterate_entries,
    read_answers,
)
from harness_llm.logs.source import LogError

_SCRIPT = "mlcommons/inference @b66003e1 compliance/TEST06/run_verification.py"
_README = "mlcommons/inference @b66003e1 compliance/TEST06/README.md"
_SCRIPT_END = 2  # run_verification.py --eos_token_id
_TWICE = "ends with end of sequence twice"
_MOST_HALF_LINES = 2  # one on each side of a cut


class Test06(AuditTest):
    """About a hundred answers of a performance run, looked at one by one."""

    name = "TEST06"
    asks_the_benchmarks_data = True
    keeps_whole_log = True  # about a hundred answers, and the official verification keeps them whole

    def verify(self, evidence: Evidence) -> Verification:
        """Judge a finished run; it fails where no end-of-sequence tokens are known."""
        answers = list(read_answers(evidence.log))
        timed, ends = evidence.scenario.is_timed_per_token, evidence.end_tokens
        first = [answer.sample for answer in answers if timed and not _first_token_matches(answer)]
        ended_twice = [answer.sample for answer in answers if _trailing(answer, ends) > 1]
        miscounted = [answer.sample for answer in answers if answer.token_count != len(answer.tokens)]
        reasons = [] if answers else ["The log has no samples."]
        if not ends:
            reasons.append("The end-of-sequence tokens of the model are not known, so they were not checked.")
        reasons += _blame(first, "the first token that was reported is not the first of the answer")
        reasons += _blame(ended_twice, "the answer ends with more than one end-of-sequence token")
        reasons += _blame(miscounted, "the token count that was reported is not the length of the answer")
        some = bool(answers)
        return self._verification(
            (
                f"First token check pass: {not first and some if timed else 'Skipped'}",
                f"EOS check pass: {bool(ends) and not ended_twice and some}",
                f"Sample length check pass: {not miscounted and some}",
                f"{self.name} verification {'failed' if reasons else 'complete'}",
            ),
            reasons,
        )

    def verdict_lines(self, scenario: Scenario) -> tuple[VerdictLine, ...]:
        """Three lines; the first may be `Skipped` in Offline only."""
        first = ["First token check pass: True"]
        if scenario is Scenario.OFFLINE:
            first.append("First token check pass: Skipped")
        return (
            VerdictLine("first-token", tuple(first), "first token", ("First token check pass",)),
            VerdictLine("eos", ("EOS check pass: True",), "end of sequence", ("EOS check pass",)),
            VerdictLine(
                "length", ("Sample length check pass: True",), "sample length", ("Sample length check pass",)
            ),
        )

    def recheck(self, log: Path, scenario: Scenario, end_tokens: frozenset[int]) -> Recheck:
        """All of the verification; ends of sequence where end tokens are known."""
        found = tuple(_faults(log, scenario, end_tokens))
        # The official script looks for its own default, token 2, unless it is told another.
        remarks = () if _SCRIPT_END in end_tokens else tuple(text for text in found if text.endswith(_TWICE))
        return Recheck(
            tuple(text for text in found if text not in remarks),
            "answers that begin with the reported first token, end at most once, and are as long as counted",
            f"{_README}, Introduction; {_SCRIPT} lines 67-103",
            remarks,
        )


def _first_token_matches(answer: LoggedAnswer) -> bool:
    reported = answer.first_tokens
    return len(reported) > 0 and np.array_equal(reported, answer.tokens[: len(reported)])


def _trailing(answer: LoggedAnswer, ends: frozenset[int]) -> int:
    """How many end-of-sequence tokens stand at the end of an answer."""
    others = np.flatnonzero(~np.isin(answer.tokens, np.asarray(sorted(ends), np.int32)))
    return len(answer.tokens) - (int(others[-1]) + 1 if len(others) else 0)


def _blame(samples: list[int], what: str) -> list[str]:
    return [f"In {len(samples)} samples (the first is {samples[0]}) {what}."] if samples else []


def _faults(log: Path, scenario: Scenario, end_tokens: frozenset[int]) -> Iterator[str]:
    width = AccuracyLog.read(log).token_bytes
    ends = frozenset(token.to_bytes(width, "little").hex().upper() for token in end_tokens)
    entries, half_lines, cut = 0, 0, False
    for entry in iterate_entries(log):
        if entry is None:
            cut = True
        elif isinstance(entry, LogError):
            half_lines += 1
            if half_lines > _MOST_HALF_LINES or entry.line == 0:
                yield str(entry)
                return
        else:
            entries += 1
            yield from _entry_faults(entry, scenario, ends, 2 * width)
    if half_lines and not cut:
        yield f"{half_lines} lines that are not entries"
    if not entries:
        yield "no answer"


def _entry_faults(
    entry: AccuracyEntry, scenario: Scenario, ends: frozenset[str], digits: int
) -> Iterator[str]:
    """What is wrong with an answer; `digits` are the hexadecimal digits of a token."""
    if entry.token_count is None or len(entry.data) != digits * entry.token_count:
        length = len(entry.data) / digits
        yield f"sample {entry.sample}: token_count {entry.token_count}, data of {length:g} tokens"
    if scenario.is_timed_per_token and (not entry.token_data or not entry.data.startswith(entry.token_data)):
        reported = entry.token_data or "none"
        yield f"sample {entry.sample}: reported first token {reported}, {entry.data[:digits]} in data"
    last = entry.data[-2 * digits :].upper()
    if len(entry.data) % digits == 0 and last[:digits] in ends and last[digits:] in ends:
        yield f"sample {entry.sample}: {_TWICE}"
