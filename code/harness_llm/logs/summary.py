"""LoadGen's mlperf_log_summary.txt as a typed record; a damaged file is data, never an exception."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness_llm.logs.source import LogError, read_text

_ERRORS = re.compile(r"^(\d{1,18}) ERRORS? encountered")
_WARNINGS = re.compile(r"^(\d{1,18}) warnings? encountered")
_PERCENTILE = re.compile(
    r"^([\d.]+) percentile (.*?)latency \(ns\)\s*$|^([\d.]+) percentile time to output token"
)
_RECOMMENDATIONS = "Recommendations"
_SUCCESSFUL, _UNSUCCESSFUL = "Run successful.", "Run unsuccessful."
_TIMES = ("TTFT", "TPOT")
_CONSTRAINTS = {
    "Performance constraints satisfied": "performance",
    "Min duration satisfied": "min_duration",
    "Min queries satisfied": "min_queries",
    "Early stopping satisfied": "early_stopping",
}


@dataclass(frozen=True)
class SummaryLog:
    """What LoadGen's summary says.

    Attributes:
        path: The file.
        validity: `VALID`, `INVALID`, or None (accuracy mode prints neither).
        scenario: LoadGen's scenario, or None.
        mode: LoadGen's mode, or None.
        constraints: `performance`, `min_duration`, `min_queries`, `early_stopping`: whether satisfied.
        metrics: Numbers under their printed labels, in the units of the label.
        latencies_ns: `latency`, `first_token`, `output_token`: percentile as printed (`99.00`) to ns.
        parameters: Test parameters under their printed labels, as text.
        reasons: What speaks against the run: each recommendation, and what early stopping says of TTFT or
            TPOT where it was not successful; a line each, without bullets.
        pairs: Every `label : value` in order, as text; what LoadGen prints twice is here twice.
        errors: Number of LoadGen errors, or None where the file does not say.
        warnings: Number of LoadGen warnings, or None where the file does not say.
        problems: What is wrong with the file itself.
    """

    path: Path
    validity: str | None = None
    scenario: str | None = None
    mode: str | None = None
    constraints: Mapping[str, bool] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    latencies_ns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    errors: int | None = None
    warnings: int | None = None
    problems: tuple[LogError, ...] = ()

    @classmethod
    def read(cls, path: Path) -> SummaryLog:
        """Read a summary."""
        text, problem = read_text(path)
        if problem:
            return cls(path, problems=(problem,))
        parser = _Parser()
        for line in text.splitlines():
            parser.take(line)
        problems = []
        if parser.errors is None:
            problems.append(LogError(path, 0, "the summary is cut: LoadGen's count of errors is missing"))
        return cls(
            path,
            parser.fields.get("Result is"),
            parser.fields.get("Scenario"),
            parser.fields.get("Mode"),
            parser.constraints,
            parser.metrics,
            parser.latencies,
            parser.parameters,
            tuple(parser.reasons()),
            tuple(parser.pairs),
            parser.errors,
            parser.warnings,
            tuple(problems),
        )

    @property
    def is_valid(self) -> bool | None:
        """LoadGen's verdict, None where the summary gives none."""
        return None if self.validity is None else self.validity == "VALID"

    @property
    def tokens_per_second(self) -> float | None:
        """The LLM metric of the scenario, tokens/s, as rounded by LoadGen."""
        return self.metrics.get("Tokens per second", self.metrics.get("Completed tokens per second"))


class _Parser:
    """Takes a summary line by line; the sections tell results from parameters."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.constraints: dict[str, bool] = {}
        self.metrics: dict[str, float] = {}
        self.latencies: dict[str, dict[str, int]] = {}
        self.parameters: dict[str, str] = {}
        self._told: dict[str, list[str]] = {}
        self.pairs: list[tuple[str, str]] = []
        self.errors: int | None = None
        self.warnings: int | None = None
        self._section = ""
        self._in_parameters = False

    def reasons(self) -> Iterator[str]:
        """Recommendations one by one; of early stopping one text for each of TTFT and TPOT."""
        for section, texts in self._told.items():
            name = section.partition(" ")[0]
            if section == _RECOMMENDATIONS or _UNSUCCESSFUL not in texts:
                yield from (text for text in texts if text != _SUCCESSFUL)
            else:
                yield f"{name}: {' '.join(texts)}" if name in _TIMES else " ".join(texts)

    def take(self, line: str) -> None:
        """Take one line."""
        if line.startswith("Test Parameters Used"):
            self._in_parameters = True
        elif line.startswith(" * "):
            self._told.setdefault(self._section, []).append(line[3:].strip())
        elif line.startswith(" ") and not line.startswith("  ") and self._told.get(self._section):
            self._told[self._section][-1] += f" {line.strip()}"  # LoadGen breaks its sentences
        elif line.startswith("No errors encountered"):
            self.errors = 0
        elif found := _ERRORS.match(line):
            self.errors = int(found.group(1))
        elif line.startswith("No warnings encountered"):
            self.warnings = 0
        elif found := _WARNINGS.match(line):
            self.warnings = int(found.group(1))
        elif line.rstrip().endswith("Result:") or line.startswith(_RECOMMENDATIONS):
            self._section = line.strip().rstrip(":")
        elif ":" in line:
            label, _, value = line.partition(":")
            self.pairs.append((label.strip(), value.strip()))
            self._take_pair(label.strip(), value.strip())

    def _take_pair(self, label: str, value: str) -> None:
        if self._in_parameters:
            self.parameters[label] = value
            return
        if label in _CONSTRAINTS:
            self.constraints[_CONSTRAINTS[label]] = value == "Yes"
            return
        if label in ("SUT name", "Scenario", "Mode", "Result is"):
            self.fields[label] = value
            return
        try:
            number = float(value)
        except ValueError:
            return
        if not math.isfinite(number):  # LoadGen writes none
            return
        self.metrics[label] = number
        if found := _PERCENTILE.match(label):
            percentile, kind, output_token = found.groups()
            family = "output_token" if output_token else "first_token" if kind.strip() else "latency"
            self.latencies.setdefault(family, {})[percentile or output_token] = int(number)
