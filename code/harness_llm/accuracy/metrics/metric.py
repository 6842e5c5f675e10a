"""The seam behind which answers are scored."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer


class Answer(NamedTuple):
    """One answer to score.

    Attributes:
        sample: Index of the sample in the table.
        tokens: Token ids, end of sequence included.
    """

    sample: int
    tokens: Sequence[int] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Scores:
    """What a metric gives.

    Attributes:
        values: Scores by the names that accuracy.txt has; percent.
        characters: Characters of all answers as they were scored (`gen_len`); None where they do not count.
        left_out: Names that could not be scored on this machine, each with why and what to do.
    """

    values: Mapping[str, float]
    characters: int | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


class Metric(Protocol):
    """Turns answers and references into scores.

    Attributes:
        name: As the rules table and `harness_config.metric` have it.
        scores: Every name of a score that it computes.
    """

    name: str
    scores: tuple[str, ...]

    def check(self, table: SampleTable, wanted: Collection[str] = ()) -> None:
        """Whether these samples can be scored on this machine; asked before a run begins.

        Args:
            table: The samples.
            wanted: The scores that the benchmark is judged by: each must be there in the end.

        Raises:
            DatasetError: Reference answers are missing, or of another kind.
            ConfigError: Something is not installed; says how to get it.
        """

    def score(self, answers: Iterable[Answer], table: SampleTable, tokenizer: Tokenizer) -> Scores:
        """Score answers, read once and in the order given; every answer counts.

        Args:
            answers: At least one; each to a sample of the table.
            table: The samples that were asked; `check` has passed it.
            tokenizer: The checkpoint's own.
        """
