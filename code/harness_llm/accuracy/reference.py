"""Makes a reference.json: plain transformers, greedy, on the same checkpoint and samples.

::

    python -m harness_llm.accuracy.reference --benchmark smollm2-135m --model MODEL \
        --dataset humaneval --dataset-path HumanEval.jsonl.gz --max-tokens 64 --min-tokens 2 \
        --output reference.json
"""

from __future__ import annotations

import argparse
import datetime
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from harness_llm.accuracy.reference_file import Reference
from harness_llm.accuracy.score import score_answers
from harness_llm.checkpoint import weights_digest
from harness_llm.datasets import DatasetKind, DatasetOptions, load
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import HarnessError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.datasets import SampleTable

__all__ = ["generate", "main"]

_log = logging.getLogger(__name__)


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
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{model_path}: transformers cannot load it: {error}") from error
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        reference = _make(options, given)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(reference.model_dump_json(indent=2) + "\n")
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{options.output}: {reference.scores}\n")
    return 0


def _make(options: argparse.Namespace, given: list[str]) -> Reference:
    table = load(
        options.dataset,
        options.dataset_path,
        model_path=options.model,
        max_tokens=options.max_tokens,
        min_tokens=options.min_tokens,
        options=DatasetOptions(samples=options.samples, chat_template=not options.no_chat_template),
    )
    answers = generate(options.model, table, dtype=options.dtype, batch=options.batch)
    result = score_answers(answers, table, Tokenizer(options.model), None)
    import torch
    import transformers

    return Reference(
        benchmark=options.benchmark,
        model_digest=weights_digest(options.model),
        dataset_digest=table.digest,
        dtype=options.dtype,
        transformers=transformers.__version__,
        torch=torch.__version__,
        max_tokens=options.max_tokens,
        min_tokens=options.min_tokens,
        samples=result.samples,
        tokens_per_sample=result.tokens_per_sample,
        scores=dict(result.scores),
        made_by=shlex.join(["python", "-m", "harness_llm.accuracy.reference", *given]),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness_llm.accuracy.reference",
        description="Score plain transformers on a benchmark of your own and record it as the reference.",
    )
    parser.add_argument("--benchmark", required=True, help="name of the benchmark")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--dataset", choices=get_args(DatasetKind), required=True)
    parser.add_argument("--dataset-path", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--min-tokens", type=int, default=2)
    parser.add_argument("--samples", type=int, help="only the first samples")
    parser.add_argument(
        "--no-chat-template", action="store_true", help="leave plain prompts of jsonl as they are"
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=8, help="samples at once")
    parser.add_argument("--output", type=Path, required=True, help="reference.json to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
