"""What scoring one accuracy test gives, and the two files that it goes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from harness_llm.files import write_atomically
from harness_llm.results.accuracy_txt import scores_line
from harness_llm.results.paths import ACCURACY_JSON, ACCURACY_TXT
from harness_llm.results.reading import write_record
from harness_llm.results.records import AccuracyRecord
from harness_llm.rules import BenchmarkRules


@dataclass(frozen=True)
class Gates:
    """What an accuracy test must reach.

    Attributes:
        minimum: Least value of each score; a score that is not named is not judged.
        tokens_per_sample: Inclusive window for the mean answer length, tokens; None sets none.
        characters: Inclusive window for the characters of all answers (`gen_len`); None sets none.
        source: Where the numbers come from: a rule's file and line, or a reference file.
    """

    minimum: Mapping[str, float]
    tokens_per_sample: tuple[float, float] | None = None
    source: str = ""
    characters: tuple[float, float] | None = None

    @classmethod
    def of_rules(cls, official: BenchmarkRules) -> Self:
        """The gates and the window of lengths that the rules of a round have."""
        window = official.length
        bounds = (0.0 if window.low is None else float(window.low), float(window.high))
        return cls(
            minimum={gate.metric: gate.gate for gate in official.accuracy},
            tokens_per_sample=bounds if window.metric == "tokens_per_sample" else None,
            characters=bounds if window.metric == "gen_len" else None,
            source=f"rules of {official.round}",
        )


@dataclass(frozen=True)
class AccuracyResult:
    """Scores of one accuracy test, judged where there are gates.

    Attributes:
        metric: Name of the metric that they are of.
        scores: By the names that accuracy.txt has, percent.
        samples: Answers scored.
        tokens: Output tokens of all answers, end of sequence included.
        characters: Characters of all answers as they were scored (`gen_len` in the official form); None where
            they were not counted.
        gates: What the scores are judged by; None where nothing is known to judge by.
        left_out: Names that the metric could not score on this machine, each with why.
    """

    metric: str
    scores: Mapping[str, float]
    samples: int
    tokens: int
    characters: int | None
    gates: Gates | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens_per_sample(self) -> float:
        """Mean answer length, tokens, rounded to one place as the official script does."""
        return round(self.tokens / self.samples, 1)

    @property
    def failures(self) -> list[str]:
        """One sentence for each gate that is not met; empty if all are, or there are none."""
        if self.gates is None:
            return []
        found = [
            f"{name} is {self.scores[name]:.4f}, the gate is {least:.4f}"
            if name in self.scores
            else f"{name} is not scored ({self._why_not(name)}), the gate is {least:.4f}"
            for name, least in self.gates.minimum.items()
            if not self.scores.get(name, -1.0) >= least
        ]
        window = self.gates.tokens_per_sample
        if window is not None and not window[0] <= self.tokens_per_sample <= window[1]:
            found.append(
                f"tokens_per_sample is {self.tokens_per_sample}, the window is {window[0]} to {window[1]}"
            )
        window = self.gates.characters
        if window is not None and not window[0] <= (self.characters or 0) <= window[1]:
            found.append(f"gen_len is {self.characters}, the window is {window[0]} to {window[1]}")
        return found

    def _why_not(self, name: str) -> str:
        return self.left_out.get(name, f"{self.metric} gives no such score")

    @property
    def passed(self) -> bool | None:
        """Whether every gate is met; None where there are no gates."""
        return None if self.gates is None else not self.failures

    def official_line(self) -> str:
        """The line that the official checker's patterns match; see `results.accuracy_txt`."""
        shown: dict[str, float] = {name: float(score) for name, score in self.scores.items()}
        if self.characters is not None:
            shown["gen_len"] = int(self.characters)
        shown |= {
            "gen_num": int(self.samples),
            "gen_tok_len": int(self.tokens),
            "tokens_per_sample": float(self.tokens_per_sample),
        }
        return scores_line(shown)

    def write(self, folder: Path) -> None:
        """Write accuracy.txt (official form) and accuracy.json into a test folder, each as a whole."""
        write_atomically(folder / ACCURACY_TXT, f"\nResults\n\n{self.official_line()}\n")
        write_record(folder / ACCURACY_JSON, self.record())

    def record(self) -> AccuracyRecord:
        """What accuracy.json holds."""
        return AccuracyRecord(
            metric=self.metric,
            scores={name: float(score) for name, score in self.scores.items()},
            gates={} if self.gates is None else dict(self.gates.minimum),
            gates_source="" if self.gates is None else self.gates.source,
            tokens_per_sample_window=None if self.gates is None else self.gates.tokens_per_sample,
            passed=self.passed,
            failures=tuple(self.failures),
            tokens_per_sample=float(self.tokens_per_sample),
            samples=int(self.samples),
            gen_len=None if self.characters is None else int(self.characters),
            gen_tok_len=int(self.tokens),
        )
