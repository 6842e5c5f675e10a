"""What scoring one accuracy test gives, and the two files that it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_llm.accuracy.sentences import COMMAND
from harness_llm.files import write_atomically
from harness_llm.results.accuracy_txt import scores_line
from harness_llm.results.paths import ACCURACY_JSON, ACCURACY_TXT
from harness_llm.results.reading import write_record
from harness_llm.results.records import AccuracyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["AccuracyResult", "Gates"]


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


@dataclass(frozen=True)
class AccuracyResult:
    """Scores of one accuracy test, judged where there are gates.

    Attributes:
        scores: By kind: mean ROUGE F-measures times 100, or `exact_match` in percent.
        samples: Answers scored.
        tokens: Output tokens of all answers, end of sequence included.
        characters: Characters of all answers as they were scored (`gen_len` in the official form); None where
            they were not counted.
        gates: What the scores are judged by; None where nothing is known to judge by.
    """

    scores: Mapping[str, float]
    samples: int
    tokens: int
    characters: int | None
    gates: Gates | None = None

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
            else f"{name} is not scored (Punkt's data is missing: {COMMAND}), the gate is {least:.4f}"
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
            metric="rouge" if any(name.startswith("rouge") for name in self.scores) else "exact_match",
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
