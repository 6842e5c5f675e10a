"""What every kind of data set is: keys that a user writes, and a way to read them into a `SampleTable`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt

from harness_llm.core import GenerationLimits
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer, TokenizerChoice
from harness_llm.errors import DatasetError

_VOCABULARY = 32_000


@dataclass(frozen=True)
class Reading:
    """What a run gives to a data set of any kind, beside the keys of that kind.

    Attributes:
        limits: Output limits of samples that set none of their own.
        tokenizer_choice: Which tokenizer makes token ids of text, or its folder; None without a model.
        vocab_size: Token ids that are made up are below this.
        official: The file must be the official one, where its kind knows it by a digest.
        context: Longest prompt plus answer that the model takes, tokens; None where that is not known. A kind
            may leave out what is longer, and says so; of any other a longer sample is an error later.
    """

    limits: GenerationLimits
    tokenizer_choice: TokenizerChoice | Path | None = None
    vocab_size: int = _VOCABULARY
    official: bool = False
    context: int | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded when it is first asked for.

        Raises:
            DatasetError: No model is configured.
            ModelError: The model's folder holds no tokenizer that can be loaded.
        """
        if self.tokenizer_choice is None:
            raise DatasetError(
                "text prompts need a tokenizer and no model is given",
                "Set llm_config.model to a checkpoint folder, or give token_ids instead of text.",
            )
        return Tokenizer(self.tokenizer_choice)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how the tokenizer was used, once a data set was read."""
        used: Tokenizer | None = self.__dict__.get("tokenizer")
        return () if used is None else used.notes


class DatasetKind(BaseModel):
    """One kind of data set; its fields are the keys of `harness_config.dataset`.

    A subclass gives `kind` its own name as the only value, adds the keys of its kind, and reads.

    Attributes:
        kind: Name of the kind.
        samples: Use only the first so many samples; None uses all. Not for a result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    samples: PositiveInt | None = None

    @abstractmethod
    def read(self, reading: Reading) -> SampleTable:
        """All samples, tokenized, in the order of the data set.

        Raises:
            DatasetError: The data set cannot be used; names file, sample or line, what was found, a remedy.
            ModelError: A tokenizer is needed and the folder holds none.
        """
