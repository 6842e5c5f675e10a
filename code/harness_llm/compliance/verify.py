"""Verification of compliance runs, by the rules; its file is what the official checker reads.

It is stricter than the official scripts where those can pass on nothing: an empty log, an empty first token,
an answer of end tokens only, and a log with fewer samples than the test asks for all fail here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_llm import rules
from harness_llm.logs.accuracy_log import LoggedAnswer, read_answers

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from harness_llm.core import Scenario

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """The verdict on one compliance run.

    Attributes:
        test: `TEST06`, `TEST07` or `TEST09`.
        passed: Whether the run complies.
        file_name: `verify_accuracy.txt` or `verify_output_len.txt`.
        text: Content of that file, in the lines that the official checker looks for
            (submission_checker/checks/compliance_check.py lines 330-400 @b66003e1).
        reasons: Why it failed, one sentence each; empty where it passed.
    """

    test: str
    passed: bool
    file_name: str
    text: str
    reasons: tuple[str, ...]

    def write(self, folder: Path) -> Path:
        """Write the verdict into the test's folder and return the file."""
        path = folder / self.file_name
        path.write_text(self.text, encoding="utf-8")
        return path


def verify(
    test: str,
    log: Path,
    *,
    scenario: Scenario,
    eos_token_ids: Collection[int] = (),
    score: float | None = None,
    why_unscored: str = "",
) -> Verification:
    """Judge a finished compliance run.

    Args:
        test: `TEST06`, `TEST07` or `TEST09`.
        log: Its mlperf_log_accuracy.json, whole.
        scenario: First tokens are not reported, and so not checked, in Offline.
        eos_token_ids: The model's end-of-sequence tokens; TEST06 fails where none are known.
        score: The accuracy of the answers in percent; without it TEST07 fails.
        why_unscored: A sentence on why there is no score; empty for none.

    Raises:
        FolderError: The log is missing, cut or no accuracy log.
    """
    samples = list(read_answers(log))
    if test == "TEST06":
        return _test06(samples, scenario, eos_token_ids)
    if test == "TEST07":
        return _test07(samples, score, why_unscored)
    assert test == "TEST09", test
    return _test09(samples)


def _test06(samples: list[LoggedAnswer], scenario: Scenario, eos: Collection[int]) -> Verification:
    ends = np.asarray(sorted(eos), np.int32)
    timed = scenario.is_timed_per_token
    first = [s.sample for s in samples if timed and not _first_token_matches(s)]
    ended_twice = [s.sample for s in samples if _trailing(s, ends) > 1]
    miscounted = [s.sample for s in samples if s.token_count != len(s.tokens)]
    empty = not samples
    reasons = ["The log has no samples."] if empty else []
    reasons += (
        [] if eos else ["The end-of-sequence tokens of the model are not known, so they were not checked."]
    )
    reasons += _blame(first, "the first token that was reported is not the first of the answer")
    reasons += _blame(ended_twice, "the answer ends with more than one end-of-sequence token")
    reasons += _blame(miscounted, "the token count that was reported is not the length of the answer")
    verdict = "complete" if not reasons else "failed"
    lines = (
        f"First token check pass: {not first and not empty if timed else 'Skipped'}",
        f"EOS check pass: {bool(eos) and not ended_twice and not empty}",
        f"Sample length check pass: {not miscounted and not empty}",
        f"TEST06 verification {verdict}",
    )
    return _verification("TEST06", lines, reasons)


def _first_token_matches(sample: LoggedAnswer) -> bool:
    reported = sample.first_tokens
    return len(reported) > 0 and np.array_equal(reported, sample.tokens[: len(reported)])


def _trailing(sample: LoggedAnswer, ends: np.ndarray[tuple[int], np.dtype[np.int32]]) -> int:
    """How many end-of-sequence tokens stand at the end of an answer."""
    others = np.flatnonzero(~np.isin(sample.tokens, ends))
    return len(sample.tokens) - (int(others[-1]) + 1 if len(others) else 0)


def _test07(samples: list[LoggedAnswer], score: float | None, why_unscored: str) -> Verification:
    row = rules.compliance_test("TEST07")
    threshold = row.accuracy_at_least
    assert threshold is not None
    reasons = _missing(samples, row.audit["min_query_count"])
    if score is None:
        reasons.append(why_unscored or "The answers were not scored.")
    elif not score >= threshold:
        reasons.append(f"The accuracy {score} is below {threshold}.")
    lines = (
        *((why_unscored,) if why_unscored else ()),
        *(() if score is None else (f"'exact_match': {score}",)),
        f"Accuracy score: {score}",
        f"Accuracy threshold: {threshold}",
        f"Accuracy check pass: {score is not None and score >= threshold}",
        "TEST FAIL" if reasons else "TEST PASS",
    )
    return _verification("TEST07", lines, reasons)


def _test09(samples: list[LoggedAnswer]) -> Verification:
    row = rules.compliance_test("TEST09")
    window = row.tokens_per_sample
    assert window is not None
    reasons = _missing(samples, row.audit["min_query_count"])
    lengths = [len(sample.tokens) for sample in samples] or [0]
    mean = sum(lengths) / len(lengths)
    if not window["low"] <= mean <= window["high"]:
        reasons.append(
            f"The mean output of {mean:.2f} tokens is outside {window['low']} to {window['high']}."
        )
    lines = (
        f"Total samples: {len(samples)}",
        f"Mean output tokens: {mean:.2f}",
        f"Min output tokens: {min(lengths)}",
        f"Max output tokens: {max(lengths)}",
        f"Min threshold: {window['low']}",
        f"Max threshold: {window['high']}",
        f"Min check pass: {mean >= window['low']}",
        f"Max check pass: {mean <= window['high']}",
        "TEST FAIL" if reasons else "TEST PASS",
    )
    return _verification("TEST09", lines, reasons)


def _missing(samples: list[LoggedAnswer], needed: int) -> list[str]:
    """Whether the log covers as many different samples as the test asks for."""
    covered = len({sample.sample for sample in samples})
    return [] if covered >= needed else [f"The log covers {covered} samples, the test asks for {needed}."]


def _blame(indices: list[int], what: str) -> list[str]:
    return [f"In {len(indices)} samples (the first is {indices[0]}) {what}."] if indices else []


def _verification(test: str, lines: tuple[str, ...], reasons: list[str]) -> Verification:
    name = rules.compliance_test(test).result_file
    return Verification(test, not reasons, name, "\n".join(lines) + "\n", tuple(reasons))
