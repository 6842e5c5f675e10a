"""The reference accuracy of an unofficial benchmark: what plain transformers scores, greedily, and how.

It is made on the same checkpoint and samples as a run, with this project's own metric, and judges that run.
"""

import datetime
import logging
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness_llm.accuracy.metrics import Metric
from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.accuracy.scoring import score_outputs
from harness_llm.benchmark import Benchmark
from harness_llm.checkpoint import weights_digest
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import ConfigError, ModelError, named
from harness_llm.files import read_text

_log = logging.getLogger(__name__)

GATE_FRACTION = 0.99
"""Share of the reference score that must be reached; the 99 % of most official gates (inference_policies,
inference_rules.adoc, quality targets)."""

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Score = Annotated[float, Field(gt=0, le=100)]


class Reference(BaseModel):
    """A reference.json, written by `harness-llm reference` and never by hand.

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
        scores: By the names that accuracy.txt has, percent.
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
    def load(cls, path: Path) -> Self:
        """Read a reference.json.

        Raises:
            ConfigError: It cannot be read, or is not of this form.
        """
        remedy = "Make it again with `harness-llm reference`."
        try:
            return cls.model_validate_json(read_text(path))
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
        remedy = "Make a reference for them with `harness-llm reference`."
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


def gates_of(benchmark: Benchmark, reference: Path | None) -> Reference | Gates | None:
    """What an accuracy score is judged by: the rules, the benchmark's own reference, or nothing.

    Args:
        benchmark: The benchmark.
        reference: A reference.json; only a benchmark without rules is judged by it.

    Raises:
        ConfigError: The reference file cannot be used.
    """
    if benchmark.rules is not None:
        return Gates.of_rules(benchmark.rules)
    return None if reference is None else Reference.load(reference)


def make_reference(
    benchmark: str,
    model_path: Path,
    table: SampleTable,
    metric: Metric,
    *,
    made_by: str,
    dtype: str,
    batch: int,
) -> Reference:
    """Score plain transformers on a benchmark of one's own.

    Args:
        benchmark: Its name.
        model_path: Checkpoint folder.
        table: The samples of a run.
        metric: What to score by.
        made_by: The command line, for whoever reads the file.
        dtype: As `generate` takes it.
        batch: Samples at once.

    Raises:
        ConfigError: A score is 0.
        DatasetError: The samples cannot be scored.
        ModelError: The checkpoint cannot be loaded.
    """
    metric.check(table)
    tokenizer, digest = Tokenizer(model_path), weights_digest(model_path)
    outputs = generate(model_path, table, dtype=dtype, batch=batch)
    result: AccuracyResult = score_outputs(outputs, table, tokenizer, metric, None)
    if zero := [name for name, score in result.scores.items() if score <= 0]:
        raise ConfigError(
            f"{', '.join(zero)} of the reference is 0: no answer could be worse, so none can be judged by it",
            "Raise harness_config.max_tokens, or choose another harness_config.metric.",
        )
    import torch
    import transformers

    return Reference(
        benchmark=benchmark,
        model_digest=digest,
        dataset_digest=table.digest,
        dtype=dtype,
        transformers=transformers.__version__,
        torch=torch.__version__,
        max_tokens=int(table.max_tokens.max()),
        min_tokens=int(table.min_tokens.min()),
        samples=result.samples,
        tokens_per_sample=result.tokens_per_sample,
        scores=dict(result.scores),
        made_by=made_by,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def generate(model_path: Path, table: SampleTable, *, dtype: str, batch: int) -> list[list[int]]:
    """Output token ids of each sample, greedily decoded by transformers, in the order of the table.

    Prompts of similar length are batched and padded on the left, with the padding masked. End of sequence is
    part of an answer, as it is in vLLM's.

    Args:
        model_path: Checkpoint folder.
        table: The samples; each batch is generated up to its largest limit and cut to each sample's own.
        dtype: `float32` (weights stored in fewer bits are converted, which is exact) or `bfloat16`.
        batch: Samples at once.

    Raises:
        ModelError: The checkpoint cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(model_path), dtype=getattr(torch, dtype), local_files_only=True
        )
    except Exception as error:  # what a library makes of damaged files is anything
        raise ModelError(f"{model_path}: transformers cannot load it: {named(error)}") from error
    model.eval()
    ends = _end_tokens(model)
    order = np.lexsort((table.prompt_lengths, table.min_tokens)).tolist()
    answers: list[list[int]] = [[] for _ in order]
    done = 0
    while done < len(order):
        least = table.min_tokens[order[done]]
        chosen = [sample for sample in order[done : done + batch] if table.min_tokens[sample] == least]
        for sample, row in zip(chosen, _generate_batch(model, table, chosen, ends), strict=True):
            answers[sample] = _cut(row, ends, int(table.max_tokens[sample]))
        done += len(chosen)
        _log.info("%d of %d samples", done, len(order))
    return answers


def _generate_batch(model: Any, table: SampleTable, samples: list[int], ends: set[int]) -> list[list[int]]:
    import torch

    prompts = [torch.tensor(table.prompt(sample).tolist()) for sample in samples]
    ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_side="left")
    mask = torch.nn.utils.rnn.pad_sequence(
        [torch.ones_like(prompt) for prompt in prompts], batch_first=True, padding_side="left"
    )
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            min_new_tokens=int(table.min_tokens[samples[0]]),
            max_new_tokens=int(table.max_tokens[samples].max()),
            pad_token_id=min(ends, default=0),
        )
    rows: list[list[int]] = made[:, ids.shape[1] :].tolist()
    return rows


def _end_tokens(model: Any) -> set[int]:
    found = model.generation_config.eos_token_id
    return set() if found is None else set(found if isinstance(found, list) else [found])


def _cut(row: list[int], ends: set[int], limit: int) -> list[int]:
    for position, token in enumerate(row[:limit]):
        if token in ends:
            return row[: position + 1]
    return row[:limit]
