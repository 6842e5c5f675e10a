"""TEST07: answers that were given under the performance load are as good as they must be."""

from pathlib import Path

from harness_llm.compliance.seam import AuditTest, Evidence, Recheck, VerdictLine, Verification
from harness_llm.core import Scenario
from harness_llm.logs.accuracy_log import AccuracyLog, read_answers


class Test07(AuditTest):
    """A performance run over a data set of its own, whose answers are scored by the metric of the rules."""

    name = "TEST07"

    @property
    def threshold(self) -> float:
        """Lowest passing score, percent."""
        assert self.row.accuracy_at_least is not None
        return self.row.accuracy_at_least

    def verify(self, evidence: Evidence) -> Verification:
        """Judge a finished run; it fails without a score."""
        score, why = evidence.score, evidence.why_unscored
        reasons = self.missing(list(read_answers(evidence.log)))
        if score is None:
            reasons.append(why or "The answers were not scored.")
        elif not score >= self.threshold:
            reasons.append(f"The accuracy {score} is below {self.threshold}.")
        return self._verification(
            (
                *((why,) if why else ()),
                *(() if score is None else (f"'{self.metric}': {score}",)),
                f"Accuracy score: {score}",
                f"Accuracy threshold: {self.threshold}",
                f"Accuracy check pass: {score is not None and score >= self.threshold}",
                "TEST FAIL" if reasons else "TEST PASS",
            ),
            reasons,
        )

    def verdict_lines(self, scenario: Scenario) -> tuple[VerdictLine, ...]:
        """One line."""
        return (VerdictLine("accuracy", ("TEST PASS",), "accuracy", ("TEST", "Accuracy score")),)

    def recheck(self, log: Path, scenario: Scenario, end_tokens: frozenset[int]) -> Recheck:
        """Whether every sample has an answer; the score needs a tokenizer, which nobody packages."""
        required = f"an answer to each of {self.row.audit['min_query_count']} samples"
        return Recheck(tuple(self.coverage(AccuracyLog.read(log))), required, self.row.source)
