"""The reference accuracy of an unofficial benchmark: what plain transformers scores, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness_llm.accuracy.result import Gates
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.datasets import SampleTable

__all__ = ["GATE_FRACTION", "Reference"]

GATE_FRACTION = 0.99
"""Share of the reference score that must be reached; the 99 % of most official gates (inference_policies,
inference_rules.adoc, quality targets)."""

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Score = Annotated[float, Field(gt=0, le=100)]


class Reference(BaseModel):
    """A reference.json, written by `python -m harness_llm.accuracy.reference` and never by hand.

    Attributes:
        format: Version of this form.
        benchmark: The benchmark that it is for.
        model_digest: `weights_digest` of the checkpoint.
        dataset_digest: `SampleTable.digest` of the samples; covers prompts, limits and reference answers.
        dtype: Type that the weights were converted to and the model computed in.
        transformers: Version of transformers.
        torch: Version of torch.
        max_tokens: Output limit.
        min_tokens: Shortest answer.
        samples: Samples scored.
        tokens_per_sample: Mean answer length, tokens; recorded, not judged.
        scores: ROUGE F-measures times 100.
        made_by: Command line that made the file.
        date: UTC day, ISO form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    benchmark: Annotated[str, Field(min_length=1)]
    model_digest: _Digest
    dataset_digest: _Digest
    dtype: str
    transformers: str
    torch: str
    max_tokens: Annotated[int, Field(ge=2)]
    min_tokens: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=1)]
    tokens_per_sample: Annotated[float, Field(gt=0)]
    scores: Annotated[dict[str, _Score], Field(min_length=1)]
    made_by: Annotated[str, Field(min_length=1)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a reference.json.

        Raises:
            ConfigError: It cannot be read, or is not of this form.
        """
        remedy = "Make it again with python -m harness_llm.accuracy.reference."
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}", remedy) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{path}: {f'{key}: ' if key else ''}{first['msg']}", remedy) from error

    def gates(self, table: SampleTable, model_digest: str) -> Gates:
        """What a test of that table and those weights must reach: 99 % of each reference score.

        Raises:
            ConfigError: The reference was made for other samples, limits or weights.
        """
        remedy = "Make a reference for them with python -m harness_llm.accuracy.reference."
        if table.digest != self.dataset_digest:
            raise ConfigError(
                f"the reference of {self.benchmark} is for {self.samples} samples, min_tokens "
                f"{self.min_tokens}, max_tokens {self.max_tokens}, digest {self.dataset_digest[:12]}; "
                f"{table.source or table.name} has {len(table)} samples, min_tokens "
                f"{table.min_tokens.min()}, max_tokens {table.max_tokens.max()}, digest {table.digest[:12]}",
                remedy,
            )
        if model_digest != self.model_digest:
            raise ConfigError(
                f"the reference of {self.benchmark} is for weights with digest {self.model_digest[:12]}, "
                f"the checkpoint has {model_digest[:12]}",
                remedy,
            )
        minimum = {name: GATE_FRACTION * score for name, score in self.scores.items()}
        return Gates(minimum, source=f"99 % of {self.benchmark}/reference.json ({self.dtype}, {self.date})")
