"""How much a quantized checkpoint differs from its source: logits and ROUGE on the same samples.

::

    python benchmarks/fp8/compare.py --model MODEL --quantized MODEL-FP8 --dataset HumanEval.jsonl.gz
"""

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "code"))

import torch
import typer
from benchmarks.fp8.rounded import RoundedCache, cache_scales, load_rounded
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    DynamicCache,
)
from transformers.masking_utils import sdpa_mask

from harness_llm.accuracy.metrics.rouge import score_rouge
from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import dataset_of, load
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import HarnessError
from harness_llm.quantize.recipe import CalibrationKind

if TYPE_CHECKING:
    from harness_llm.datasets.table import SampleTable

_LOG = logging.getLogger(__name__)
_GROUPED = "harness_llm_grouped"
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


def compare(source: Path, quantized: Path, table: "SampleTable", *, batch: int = 32) -> Difference:
    """Answer every sample greedily with both, and compare their logits along the source's answers.

    The source reads each batch once, since its logits come with its answers; the quantized model twice, for
    its own answers and along the source's.

    Args:
        source: Folder of the source checkpoint.
        quantized: Folder of the FP8 checkpoint made from it.
        table: Samples to answer; with references, the answers are scored.
        batch: Samples computed at once. Their logits take 4 bytes x answer tokens x vocabulary each, thrice.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, local_files_only=True
    ).eval()
    rounded = load_rounded(source, quantized)
    for loaded in (model, rounded):
        if loaded.config._attn_implementation == "sdpa":
            loaded.set_attn_implementation(_GROUPED)
    scales = cache_scales(quantized, model.config.num_hidden_layers)
    tally = _Tally()
    answers: list[list[int]] = [[] for _ in range(len(table))]
    rounded_answers = list(answers)
    # Samples of like length together; the longest first, since they need most memory.
    order = sorted(range(len(table)), key=lambda index: -int(table.prompt_lengths[index]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        prompts = [table.prompt(index).tolist() for index in chosen]
        found, wanted_logits = _answer(model, prompts, table, chosen, DynamicCache())
        rounded_found, _ = _answer(rounded, prompts, table, chosen, RoundedCache(scales))
        tally.add(wanted_logits, _logits_along(rounded, prompts, found, RoundedCache(scales)))
        for index, answer, rounded_answer in zip(chosen, found, rounded_found, strict=True):
            answers[index], rounded_answers[index] = answer, rounded_answer
        _LOG.info("compared %d of %d samples", start + len(chosen), len(order))
    scores = _rouge(source, table, answers), _rouge(source, table, rounded_answers)
    return Difference(
        samples=len(table),
        positions=tally.positions,
        same_first_choice=tally.same / tally.positions,
        kl_divergence=tally.divergence / tally.positions,
        source_rouge=scores[0],
        quantized_rouge=scores[1],
        ratio={name: scores[1][name] / value for name, value in scores[0].items() if value},
        same_answers=sum(a == b for a, b in zip(answers, rounded_answers, strict=True)) / len(answers),
    )


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    position_bias: None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention on a CPU without copying keys and values for each query head that shares them.

    transformers copies them wherever padding is masked, which takes twice as long as attention itself.
    """
    assert position_bias is None
    found = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and query.shape[2] > 1,
        scale=scaling,
        enable_gqa=True,
    )
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(_GROUPED, _attend)
AttentionMaskInterface.register(_GROUPED, sdpa_mask)


@dataclass
class _Tally:
    """Sums over the token positions compared so far."""

    positions: int = 0
    same: int = 0
    divergence: float = 0.0

    def add(self, wanted: list[torch.Tensor], found: list[torch.Tensor]) -> None:
        """Count the logits of some answers: on either side, one tensor (tokens, vocabulary) an answer."""
        for one, other in zip(wanted, found, strict=True):
            self.positions += len(one)
            self.same += int((one.argmax(-1) == other.argmax(-1)).sum())
            terms = torch.nn.functional.kl_div(
                other.log_softmax(-1), one.log_softmax(-1), log_target=True, reduction="sum"
            )
            self.divergence += float(terms)


def _answer(
    model: Any, prompts: list[list[int]], table: "SampleTable", chosen: list[int], cache: Any
) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Greedy answers, each up to its end token or limit, and the logits before each of their tokens."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    ids, mask = _padded(prompts)
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            do_sample=False,
            pad_token_id=ends[0],
            min_new_tokens=int(table.min_tokens[chosen].min()),
            max_new_tokens=int(table.max_tokens[chosen].max()),
            return_dict_in_generate=True,
            output_logits=True,
        )
    answers = []
    for limit, row in zip(table.max_tokens[chosen], made.sequences[:, ids.shape[1] :].tolist(), strict=True):
        end = next((position + 1 for position, token in enumerate(row) if token in ends), len(row))
        answers.append(row[: min(end, int(limit))])
    logits = torch.stack(made.logits, dim=1)  # (prompts, tokens, vocabulary)
    return answers, [row[: len(answer)] for row, answer in zip(logits, answers, strict=True)]


def _logits_along(
    model: Any, prompts: list[list[int]], answers: list[list[int]], cache: Any
) -> list[torch.Tensor]:
    """Logits before each token of given answers, float32, one tensor (answer tokens, vocabulary) a prompt."""
    ids, mask = _padded([prompt + answer[:-1] for prompt, answer in zip(prompts, answers, strict=True)])
    with torch.inference_mode():
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=max(map(len, answers)),
        ).logits
    return [row[-len(answer) :] for row, answer in zip(logits, answers, strict=True)]


def _padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the left, so that all rows end together; and the mask of what is no padding."""
    ids, mask = (
        torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_side="left")
        for tensors in (
            [torch.tensor(row) for row in rows],
            [torch.ones(len(row), dtype=torch.int64) for row in rows],
        )
    )
    return ids, mask


def _rouge(source: Path, table: "SampleTable", answers: list[list[int]]) -> dict[str, float]:
    if table.references is None:
        return {}
    return score_rouge(Tokenizer(source).decode(answers), table.references)


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
        source = dataset_of({"kind": kind, "path": dataset, "samples": samples})
        limits = GenerationLimits(min_tokens=2, max_tokens=max_tokens)
        table = load(source, Reading(limits, model))
        figures = json.dumps(asdict(compare(model, quantized, table)), indent=2)
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    if output is not None:
        output.write_text(figures + "\n", encoding="utf-8")
    typer.echo(figures)


if __name__ == "__main__":
    _APP(prog_name="python benchmarks/fp8/compare.py")
