"""TEST09: answers that were given under the performance load are as long as the model's are."""

from pathlib import Path

from harness_llm.compliance.seam import AuditTest, Evidence, Recheck, VerdictLine, Verification
from harness_llm.core import Scenario
from harness_llm.logs.accuracy_log import AccuracyLog, read_answers


class Test09(AuditTest):
    """A performance run that asks each sample once; the mean length of the answers lies in a window."""

    name = "TEST09"

    @property
    def window(self) -> tuple[float, float]:
        """Bounds of the mean output length, tokens, inclusive."""
        bounds = self.row.tokens_per_sample
        assert bounds is not None
        return bounds["low"], bounds["high"]

    def verify(self, evidence: Evidence) -> Verification:
        """Judge a finished run."""
        answers = list(read_answers(evidence.log))
        low, high = self.window
        reasons = self.missing(answers)
        lengths = [len(answer.tokens) for answer in answers] or [0]
        mean = sum(lengths) / len(lengths)
        if not low <= mean <= high:
            reasons.append(f"The mean output of {mean:.2f} tokens is outside {low} to {high}.")
        return self._verification(
            (
                f"Total samples: {len(answers)}",
                f"Mean output tokens: {mean:.2f}",
                f"Min output tokens: {min(lengths)}",
                f"Max output tokens: {max(lengths)}",
                f"Min threshold: {low}",
                f"Max threshold: {high}",
                f"Min check pass: {mean >= low}",
                f"Max check pass: {mean <= high}",
                "TEST FAIL" if reasons else "TEST PASS",
            ),
            reasons,
        )

    def verdict_lines(self, scenario: Scenario) -> tuple[VerdictLine, ...]:
        """One line."""
        return (VerdictLine("output-length", ("TEST PASS",), "output length", ("TEST", "Mean output")),)

    def recheck(self, log: Path, scenario: Scenario, end_tokens: frozenset[int]) -> Recheck:
        """The mean length again, where the log lies whole."""
        found, (low, high) = AccuracyLog.read(log), self.window
        faults, mean = self.coverage(found), found.tokens_per_sample
        if not found.is_truncated and (mean is None or not low <= mean <= high):
            faults.append("no token counts" if mean is None else f"{mean:.2f} tokens in the mean")
        count = self.row.audit["min_query_count"]
        required = f"an answer to each of {count} samples, of {low} to {high} tokens in the mean"
        return Recheck(tuple(faults), required, self.row.source)
