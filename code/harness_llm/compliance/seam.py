"""What every compliance test is; its values stand in the rules table, its thoughts in a class of its own.

Verification is stricter than the official scripts where those can pass on nothing: an empty log, an empty
first token, an answer of end tokens only, and a log with fewer samples than the test asks for all fail here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from harness_llm import rules
from harness_llm.core import Scenario
from harness_llm.files import write_atomically
from harness_llm.logs.accuracy_log import AccuracyLog, LoggedAnswer
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, SUMMARY_LOG
from harness_llm.results.records import Verdict

_PERFORMANCE = PurePosixPath("performance", "run_1")
_ACCURACY = PurePosixPath("accuracy")
_FAILED = ("failed", "FAIL")

# How LoadGen's detail log spells what audit.config sets; all other keys have `requested_` before them.
_LOGGED_MODE = {2: "PerformanceOnly"}


@dataclass(frozen=True)
class Evidence:
    """A finished compliance run, as its verification sees it.

    Attributes:
        log: Its mlperf_log_accuracy.json, whole.
        scenario: First tokens are not reported, and so not checked, in Offline.
        end_tokens: The model's end-of-sequence tokens; empty where none are known.
        score: The accuracy of the answers in percent by the test's metric; None where they were not scored.
        why_unscored: A sentence on why there is no score; empty for none.
    """

    log: Path
    scenario: Scenario
    end_tokens: frozenset[int] = frozenset()
    score: float | None = None
    why_unscored: str = ""


@dataclass(frozen=True)
class Verification:
    """The verdict on one compliance run, and the file that the official checker reads.

    Attributes:
        verdict: Whether the run complies, and why not.
        file_name: Name of that file.
        text: Its content, in the lines that the official checker looks for
            (submission_checker/checks/compliance_check.py lines 330-400 @b66003e1).
    """

    verdict: Verdict
    file_name: str
    text: str

    @property
    def passed(self) -> bool:
        """Whether the run complies."""
        return self.verdict.passed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not, one sentence each; empty where it does."""
        return self.verdict.reasons

    def write(self, folder: Path) -> Path:
        """Write the file into the test's folder and return its path."""
        path = folder / self.file_name
        write_atomically(path, self.text)
        return path

    def __str__(self) -> str:
        """One line for people."""
        return "passed" if self.passed else "FAILED: " + "; ".join(self.reasons)


@dataclass(frozen=True)
class VerdictLine:
    """A line that the verdict's file of a passing run has.

    Attributes:
        subject: What it is about, as the names of checks end: `first-token`.
        accepted: One of these lines must be there.
        shown: The subject for people.
        found_in: Beginnings of the lines that say what was found.
    """

    subject: str
    accepted: tuple[str, ...]
    shown: str
    found_in: tuple[str, ...]

    def in_(self, text: str) -> tuple[bool, str]:
        """Whether a verdict's file has the line and no failure, and the lines that say so."""
        lines = {line.strip() for line in text.splitlines()}
        said = [line for line in sorted(lines) if line.startswith(self.found_in)]
        failed = "TEST FAIL" in lines or any(line.endswith(": False") for line in said)
        return bool(lines & set(self.accepted)) and not failed, "; ".join(said)


@dataclass(frozen=True)
class Recheck:
    """What a second look at the answers finds.

    Attributes:
        faults: What speaks against them; empty for nothing.
        required: What they must be, for people.
        source: Rule or script that asks for it, as the rules table spells sources.
        remarks: What is worth knowing, though the official verification accepts it.
    """

    faults: tuple[str, ...]
    required: str
    source: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TreeFile:
    """One of LoadGen's files that a submission tree holds of a compliance run.

    Attributes:
        path: Path below the test's folder in the tree; in a run folder the file lies in the test's folder.
        is_cut: Whether the middle is cut out, the hash of the whole written into accuracy.txt beside it.
    """

    path: PurePosixPath
    is_cut: bool = False


class AuditTest(ABC):
    """One compliance test.

    Attributes:
        name: As the rules table and the folders have it.
        keeps_whole_log: Whether a tree holds the accuracy log whole instead of cut.
        asks_the_benchmarks_data: Whether it asks the data set of the performance run, and none of its own.
    """

    __test__ = False  # no pytest class

    name: ClassVar[str]
    keeps_whole_log: ClassVar[bool] = False
    asks_the_benchmarks_data: ClassVar[bool] = False

    @property
    def row(self) -> rules.ComplianceTest:
        """Its values in the rules table."""
        return rules.compliance_test(self.name)

    @property
    def metric(self) -> str | None:
        """Name of the metric that its answers are scored by; None where they are not."""
        return self.row.metric

    # ------------------------------------------------------------------ before the run

    def audit(self, *, loaded_samples: int | None = None) -> str:
        """The text of audit.config: settings that LoadGen puts over user.conf's for every model and scenario.

        LoadGen reads the file with the model name `*` (loadgen/loadgen.cc, StartTest, @b66003e1).

        Args:
            loaded_samples: Samples of the test's own data set, where they are not as many as the benchmark's.
                With performance_issue_unique, LoadGen makes loaded samples / samples of a query queries
                (loadgen/loadgen.cc lines 284-290, @b66003e1), and Offline's query has as many samples as
                mlperf.conf says the benchmark has (test_settings_internal.cc lines 153-156): for 990 samples
                of gpt-oss-120b that is 990 / 6,396 = 0 queries, and LoadGen 6.0.17 ends by a segmentation
                fault. None leaves it alone.
        """
        lines = [f"# {self.name}; values from {rules.expand_source(self.row.source)}"]
        lines += [f"*.*.{key} = {value}" for key, value in self.row.audit.items()]
        if loaded_samples is not None:
            lines += [
                "# Not of the round's file: the samples of this test, where mlperf.conf has the benchmark's.",
                f"*.*.performance_sample_count_override = {loaded_samples}",
            ]
        return "\n".join(lines) + "\n"

    def logged_settings(self, scenario: Scenario, round_name: str = rules.LATEST_ROUND) -> dict[str, Any]:
        """What LoadGen's detail log says of a run that was made with the audit.config of a round."""
        order, since = rules.rounds(), self.row.audit_since
        asked = [
            (key, value)
            for key, value in self.row.audit.items()
            if key not in since or order.index(round_name) >= order.index(since[key])
        ]
        names = {
            "mode": ("effective_test_mode", _LOGGED_MODE[self.row.audit["mode"]]),
            "min_duration": ("requested_min_duration_ms", self.row.audit["min_duration"]),
        }
        logged = [names.get(key, (f"requested_{key}", value)) for key, value in asked]
        return {**dict(logged), "effective_scenario": scenario.loadgen_name}

    # ------------------------------------------------------------------ after the run

    @abstractmethod
    def verify(self, evidence: Evidence) -> Verification:
        """Judge a finished run.

        Raises:
            FolderError: The log is missing, cut or no accuracy log.
        """

    @abstractmethod
    def verdict_lines(self, scenario: Scenario) -> tuple[VerdictLine, ...]:
        """The lines of a passing verdict."""

    @abstractmethod
    def recheck(self, log: Path, scenario: Scenario, end_tokens: frozenset[int]) -> Recheck:
        """Verify again what an accuracy log shows, however damaged or cut it is; nothing is raised."""

    def says_failed(self, text: str) -> bool:
        """Whether a verdict's file says that the run does not comply."""
        return any(word in text for word in _FAILED)

    # ------------------------------------------------------------------ files

    @property
    def tree_files(self) -> tuple[TreeFile, ...]:
        """LoadGen's files that a submission tree holds of it."""
        return (
            TreeFile(_PERFORMANCE / SUMMARY_LOG),
            TreeFile(_PERFORMANCE / DETAIL_LOG),
            TreeFile(_ACCURACY / ACCURACY_LOG, is_cut=not self.keeps_whole_log),
        )

    def find(self, folder: Path, name: str) -> Path | None:
        """One of LoadGen's files in the test's folder, of a tree or of a run; None where it is not there."""
        places = [folder / file.path for file in self.tree_files if file.path.name == name]
        places += [folder / name, *(path.parent.parent / name for path in places)]
        return next((path for path in places if path.is_file()), None)

    def _verification(self, lines: Iterable[str], reasons: Sequence[str]) -> Verification:
        verdict = Verdict(passed=not reasons, reasons=tuple(reasons))
        return Verification(verdict, self.row.result_file, "\n".join(lines) + "\n")

    # ------------------------------------------------------------------ what tests of every sample share

    def missing(self, answers: Sequence[LoggedAnswer]) -> list[str]:
        """A reason where the log does not cover as many different samples as the test asks for."""
        covered, needed = len({answer.sample for answer in answers}), self.row.audit["min_query_count"]
        return [] if covered >= needed else [f"The log covers {covered} samples, the test asks for {needed}."]

    def coverage(self, log: AccuracyLog) -> list[str]:
        """What speaks against a log that must hold every sample; one that was truncated is not judged."""
        if log.is_truncated:
            return []
        found = [str(problem) for problem in log.problems]
        needed = self.row.audit["min_query_count"]
        if len(log.samples) < needed:
            found.append(f"answers to {len(log.samples)} of {needed} samples")
        if log.count_mismatches:
            found.append(f"{log.count_mismatches} answers whose token_count is not the length of their data")
        return found
