"""One benchmark and scenario under check: where its files are, and what they hold, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness_llm import rules
from harness_llm.benchmark import facts_of
from harness_llm.check.judgement import Check, judged
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.config.user_conf import UserConf, parse_conf
from harness_llm.core import Mode, Scenario
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, SUMMARY_LOG, LogError, read_text
from harness_llm.logs.summary import SummaryLog
from harness_llm.rules import Finding, Settings

_LOGGED = {"max_duration": "max_duration_ms"}  # where the log has another name than user.conf


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def relative(path: Path, root: Path) -> str:
    """A path as a report shows it: relative to what was checked, where it lies inside."""
    text, above = str(path), f"{root}/"
    if text.startswith(above):
        return text[len(above) :]  # a tree has 50,000 checks, and a path takes its time
    return str(path.relative_to(root)) if path.is_relative_to(root) else text


@dataclass(frozen=True)
class ConfFile:
    """A user.conf as it could be read.

    Attributes:
        conf: Its usable lines.
        problems: A sentence for each line that LoadGen would ignore or change.
        missing: Why there is no file to read, or None.
    """

    conf: UserConf
    problems: tuple[str, ...]
    missing: LogError | None


@dataclass(frozen=True)
class Case:
    """One benchmark in one scenario, in a run folder or a submission tree.

    Attributes:
        root: What is being checked.
        benchmark: Directory name of the benchmark.
        scenario: The scenario.
        round: Round whose rules apply.
        division: `closed`, `open` or `network`; None in a run folder.
        rules: The benchmark's rules in that round; None where it is unofficial.
        layout: `run` folder or submission `tree`.
        folder: The scenario's folder.
        performance: Folder of the performance logs.
        accuracy: Folder of the accuracy logs.
        user_conf: The user.conf that was used.
        tests: Folder of each compliance test that the round asks for or that is there.
        keeps_test_logs: Whether a scenario of it has LoadGen's log of TEST06, which no rule asks for.
        samples: Size of the data set, where the run folder says it.
        modes: The modes that were run; both in a tree.
        is_simulated: Whether the answers were made up; nothing can score those.
    """

    root: Path
    benchmark: str
    scenario: Scenario
    round: str
    division: str | None
    rules: rules.BenchmarkRules | None
    layout: Literal["run", "tree"]
    folder: Path
    performance: Path
    accuracy: Path
    user_conf: Path
    tests: Mapping[str, Path] = field(default_factory=dict)
    keeps_test_logs: bool = False
    samples: int | None = None
    modes: frozenset[Mode] = frozenset(Mode)
    is_simulated: bool = False

    @property
    def is_strict(self) -> bool:
        """Whether accuracy gates and latency limits of the rules must be met: not in open, not unofficial."""
        return self.rules is not None and self.division != "open"

    @property
    def loadgen_model(self) -> str:
        """The model name that LoadGen must have been given."""
        return rules.loadgen_model(self.benchmark, self.scenario)

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer of an official benchmark's model; empty where nobody says."""
        facts = facts_of(self.benchmark) if self.rules else None
        return facts.end_tokens.ids if facts and facts.end_tokens else frozenset()

    def check(
        self,
        name: str,
        passed: bool | None,
        found: object,
        required: object,
        *,
        source: str = "",
        remedy: str = "",
        path: Path | None = None,
    ) -> Check:
        """A check of this case; the remedy is dropped where there is nothing to remedy."""
        shown = relative(path or self.folder, self.root)
        return Check(
            name,
            passed,
            str(found),
            str(required),
            rules.expand_source(source),
            remedy if passed is False else "",
            shown,
        )

    def judged(self, finding: Finding, path: Path, *, is_note: bool = False) -> Check:
        """What a rule says of this case; see `model.judged`."""
        return judged(finding, relative(path, self.root), is_note=is_note)

    @cached_property
    def logged(self) -> Settings:
        """What LoadGen logged of the settings of the performance run."""
        detail = self.detail
        left = {key: detail.value(f"effective_{_LOGGED.get(key, key)}") for key in rules.NOT_OF_PERFORMANCE}
        return Settings(
            min_duration_ms=detail.integer("effective_min_duration_ms"),
            loaded_samples=detail.integer("effective_performance_sample_count"),
            samples_per_query=detail.integer("effective_samples_per_query"),
            equal_issue=_flag(detail.value("effective_sample_concatenate_permutation")),
            token_latencies=_flag(detail.value("requested_use_token_latencies")),
            percentile=detail.number("effective_target_latency_percentile"),
            ttft_ns=detail.integer("requested_server_ttft_latency"),
            tpot_ns=detail.integer("requested_server_tpot_latency"),
            left_over={key: value for key, value in left.items() if value not in (0, False, None)},
        )

    @cached_property
    def detail(self) -> DetailLog:
        """Detail log of the performance run."""
        return DetailLog.read(self.performance / DETAIL_LOG)

    @cached_property
    def summary(self) -> SummaryLog:
        """Summary of the performance run."""
        return SummaryLog.read(self.performance / SUMMARY_LOG)

    @cached_property
    def accuracy_detail(self) -> DetailLog:
        """Detail log of the accuracy run."""
        return DetailLog.read(self.accuracy / DETAIL_LOG)

    @cached_property
    def accuracy_log(self) -> AccuracyLog:
        """Answers of the accuracy run."""
        return AccuracyLog.read(self.accuracy / ACCURACY_LOG)

    @property
    def test_logs(self) -> dict[str, Path]:
        """Where LoadGen's detail log of each compliance test is that has one."""
        return self._files_of_tests(DETAIL_LOG)

    @cached_property
    def test_details(self) -> dict[str, DetailLog]:
        """LoadGen's detail log of each compliance test that has one."""
        return {name: DetailLog.read(path) for name, path in self.test_logs.items()}

    @cached_property
    def test_answers(self) -> dict[str, AccuracyLog]:
        """The answers of each compliance test that has a log of them."""
        return {name: AccuracyLog.read(path) for name, path in self._files_of_tests(ACCURACY_LOG).items()}

    def _files_of_tests(self, file: str) -> dict[str, Path]:
        """Where a file of each compliance test is that has one."""
        paths = {
            name: AUDIT_TESTS[name].find(folder, file)
            for name, folder in self.tests.items()
            if name in AUDIT_TESTS
        }
        return {name: path for name, path in paths.items() if path}

    @cached_property
    def conf(self) -> ConfFile:
        """The user.conf, with every line that can be used."""
        text, missing = read_text(self.user_conf)
        entries, problems = parse_conf(text)
        return ConfFile(UserConf(self.user_conf, tuple(entries)), tuple(problems), missing)

    @cached_property
    def settings(self) -> dict[str, int | float]:
        """What user.conf sets for this model and scenario, in the units of the file."""
        return self.conf.conf.settings_for(self.loadgen_model, self.scenario)

    @cached_property
    def limits_ns(self) -> tuple[int, int] | None:
        """Limits of TTFT and TPOT, ns: the rules', or else user.conf's; None in Offline."""
        if not self.scenario.is_timed_per_token:
            return None
        if self.rules and self.scenario in self.rules.latency:
            limits = self.rules.latency[self.scenario]
            return limits.ttft_ns, limits.tpot_ns
        ttft, tpot = self.settings.get("ttft_latency"), self.settings.get("tpot_latency")
        return None if ttft is None or tpot is None else (int(ttft) * 10**6, int(tpot) * 10**6)

    @property
    def limits_source(self) -> str:
        """Where `limits_ns` come from."""
        if self.rules and self.scenario in self.rules.latency:
            return self.rules.latency[self.scenario].source
        return relative(self.user_conf, self.root)
