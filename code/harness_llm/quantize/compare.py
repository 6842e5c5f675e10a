"""How much a quantized checkpoint differs from its source: logits and ROUGE on the same samples.

::

    python -m harness_llm.quantize.compare --model MODEL --quantized MODEL-FP8 --dataset HumanEval.jsonl.gz
"""

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from harness_llm import datasets
from harness_llm.accuracy.rouge import score_rouge
from harness_llm.datasets.options import DatasetOptions
from harness_llm.errors import HarnessError
from harness_llm.quantize.calibration import CalibrationKind
from harness_llm.quantize.rounded import RoundedCache, cache_scales, load_rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_llm.datasets.table import SampleTable

__all__ = ["Difference", "compare"]

_LOG = logging.getLogger(__name__)
_APP = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Difference:
    """What quantization changed, both sides computed in float32.

    Attributes:
        samples: Samples that were answered.
        positions: Token positions at which logits were compared: every answer of the source model.
        same_first_choice: Fraction of positions where both prefer the same token.
        kl_divergence: Mean Kullback-Leibler divergence of the quantized model from its source, nats.
        source_rouge: ROUGE of the source's answers; empty where the data set has no references.
        quantized_rouge: ROUGE of the quantized model's answers.
        ratio: The latter over the former.
        same_answers: Fraction of samples answered by the same tokens.
    """

    samples: int
    positions: int
    same_first_choice: float
    kl_divergence: float
    source_rouge: dict[str, float]
    quantized_rouge: dict[str, float]
    ratio: dict[str, float]
    same_answers: float


def compare(source: Path, quantized: Path, table: "SampleTable", *, batch: int = 8) -> Difference:
    """Answer every sample greedily with both, and compare their logits along the source's answers."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, local_files_only=True
    ).eval()
    rounded = load_rounded(source, quantized)
    scales = cache_scales(quantized, model.config.num_hidden_layers)
    answers = _answer(model, table, DynamicCache, batch)
    rounded_answers = _answer(rounded, table, lambda: RoundedCache(scales), batch)
    same = divergence = positions = 0.0
    for index, answer in enumerate(answers):  # one at a time: the logits of all would take gigabytes
        wanted = _logits(model, table, index, answer, DynamicCache())
        found = _logits(rounded, table, index, answer, RoundedCache(scales))
        same += float((found.argmax(-1) == wanted.argmax(-1)).sum())
        terms = wanted.softmax(-1) * (wanted.log_softmax(-1) - found.log_softmax(-1))
        divergence += float(terms.sum())
        positions += len(answer)
    scores = _rouge(source, table, answers), _rouge(source, table, rounded_answers)
    return Difference(
        samples=len(table),
        positions=int(positions),
        same_first_choice=same / positions,
        kl_divergence=divergence / positions,
        source_rouge=scores[0],
        quantized_rouge=scores[1],
        ratio={name: scores[1][name] / value for name, value in scores[0].items() if value},
        same_answers=sum(a == b for a, b in zip(answers, rounded_answers, strict=True)) / len(answers),
    )


def _answer(model: Any, table: "SampleTable", cache: "Callable[[], Any]", batch: int) -> list[list[int]]:
    """Greedy answers in the table's order; prompts of like length together, padded on the left and masked."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    order = sorted(range(len(table)), key=lambda index: int(table.prompt_lengths[index]))
    answers: list[list[int]] = [[] for _ in order]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        prompts = [torch.tensor(table.prompt(index).tolist()) for index in chosen]
        ids, mask = (
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
            for rows in (prompts, [torch.ones_like(prompt) for prompt in prompts])
        )
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache(),
                do_sample=False,
                pad_token_id=ends[0],
                min_new_tokens=int(table.min_tokens[chosen].min()),
                max_new_tokens=int(table.max_tokens[chosen].max()),
            )
        for index, row in zip(chosen, made[:, ids.shape[1] :].tolist(), strict=True):
            end = next((position + 1 for position, token in enumerate(row) if token in ends), len(row))
            answers[index] = row[:end]
        _LOG.info("answered %d of %d samples", start + len(chosen), len(order))
    return answers


def _logits(model: Any, table: "SampleTable", index: int, answer: list[int], cache: Any) -> torch.Tensor:
    """Logits before each token of an answer, float32, shape (answer tokens, vocabulary)."""
    prompt = table.prompt(index).tolist()
    with torch.inference_mode():
        logits = model(
            input_ids=torch.tensor([prompt + answer[:-1]]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=len(answer),
        ).logits
    found: torch.Tensor = logits[0].float()
    return found


def _rouge(source: Path, table: "SampleTable", answers: list[list[int]]) -> dict[str, float]:
    if table.references is None:
        return {}
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return score_rouge(texts, table.references)


@_APP.command()
def main(
    model: Annotated[Path, typer.Option(help="Folder of the source checkpoint.")],
    quantized: Annotated[Path, typer.Option(help="Folder of the FP8 checkpoint made from it.")],
    dataset: Annotated[Path, typer.Option(help="Data set to answer.")],
    kind: Annotated[CalibrationKind, typer.Option(help="Kind of the data set.")] = "humaneval",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Only that many samples; all if not given.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=2, help="Output limit of a sample.")] = 64,
    output: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
) -> None:
    """Compare a quantized checkpoint with its source, both computed in float32 on the CPU."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        table = datasets.load(
            kind,
            dataset,
            model_path=model,
            max_tokens=max_tokens,
            min_tokens=2,
            options=DatasetOptions(samples=samples),
        )
        figures = json.dumps(asdict(compare(model, quantized, table)), indent=2)
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    if output is not None:
        output.write_text(figures + "\n", encoding="utf-8")
    typer.echo(figures)


if __name__ == "__main__":
    _APP(prog_name="python -m harness_llm.quantize.compare")
