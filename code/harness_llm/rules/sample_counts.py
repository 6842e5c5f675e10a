"""Rules of what is asked: the data set and the output limits, of a plan as of a run folder."""

from __future__ import annotations

from dataclasses import dataclass

from harness_llm.core import Mode
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.finding import Finding

_LEAST_TOKENS = 2  # LoadGen counts an answer of one token as an error


@dataclass(frozen=True)
class OutputLimits:
    """The output limits of one test's samples, tokens.

    Attributes:
        low: Smallest max_tokens of a sample.
        high: Largest max_tokens of a sample.
        forced: Largest min_tokens of a sample.
    """

    low: int
    high: int
    forced: int

    def __str__(self) -> str:
        return (
            f"max_tokens {self.low if self.low == self.high else f'{self.low} to {self.high}'}, "
            f"min_tokens {self.forced}"
        )


def data_set(known: BenchmarkRules, name: str, samples: int) -> Finding:
    """The samples can be the benchmark's own: whole, and not made up.

    Args:
        known: The rules.
        name: As run.json has it, e.g. `openorca`, or `synthetic:64:8` for made-up samples.
        samples: How many.
    """
    sizes = dict.fromkeys((known.samples.accuracy, known.samples.performance))
    return Finding(
        "dataset.official",
        samples in sizes and name.partition(":")[0] != "synthetic",
        f"{name}, {samples} samples",
        f"the data set of {known.name}: {' or '.join(map(str, sizes))} samples, none made up",
        known.samples.source,
        "Run over the official data set, or package for open.",
    )


def output_limits(known: BenchmarkRules, test: str, asked: OutputLimits) -> Finding:
    """Every sample of a test has the output limits of the rules.

    Args:
        known: The rules.
        test: `performance`, `accuracy`, or a compliance test.
        asked: The limits of its samples.
    """
    limit = known.output_limit(Mode.ACCURACY if test == "accuracy" else Mode.PERFORMANCE)
    least = max(_LEAST_TOKENS, known.generation.min_tokens)
    return Finding(
        f"dataset.output-limits-{test}",
        asked.low == asked.high == limit and asked.forced <= least,
        str(asked),
        f"max_tokens {limit}, min_tokens of {least} at most",
        known.generation.source,
        "Set max_tokens and min_tokens to these and run it again.",
    )
