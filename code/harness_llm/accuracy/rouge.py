"""ROUGE as the official llama2-70b script computes it, without its downloads.

The official script (language/llama2-70b/evaluate-accuracy.py, @b66003e1) strips both texts, puts each
sentence on its own line with nltk's Punkt model, and averages the F-measures of rouge-score with the Porter
stemmer. Only rougeLsum sees lines: the other three treat a line break like a blank. Punkt's data is a
download, so rougeLsum is scored where that data is installed, and left out elsewhere instead of being scored
differently.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness_llm.accuracy.sentences import has_sentence_model, split_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["GATED", "NEEDS_SENTENCES", "postprocess", "score_rouge"]

GATED = ("rouge1", "rouge2", "rougeL")
"""Scores that need no sentence model; the ones that llama2-70b is judged by."""

NEEDS_SENTENCES = "rougeLsum"
"""The score that compares line by line, a sentence a line; left out where the sentence model is missing."""

_POOL_FROM = 2_000
"""Pairs from which a process pool pays: starting a process takes 1 s of CPU (importing nltk), a pair 0.6 ms
(50 words) to 6 ms (150 words)."""


def postprocess(text: str) -> str:
    """Stripped text, one sentence a line where the sentence model is installed."""
    return "\n".join(split_sentences(text.strip())) if has_sentence_model() else text.strip()


def score_rouge(
    predictions: Sequence[str], references: Sequence[str], *, processes: int | None = None
) -> dict[str, float]:
    """Mean F-measures times 100, rounded to 4 places: rouge1, rouge2, rougeL, and rougeLsum if it can be had.

    Args:
        predictions: Decoded answers.
        references: Expected answers, in the same order.
        processes: Processes to score in; None takes one a core for large sets, one for small ones.
    """
    assert len(predictions) == len(references) > 0
    kinds = (*GATED, NEEDS_SENTENCES) if has_sentence_model() else GATED
    if processes is None:
        processes = (os.cpu_count() or 1) if len(predictions) >= _POOL_FROM else 1
    if processes == 1:
        measures = _measures(kinds, predictions, references)
    else:
        bounds = np.linspace(0, len(predictions), processes + 1).astype(int)
        parts = [slice(int(low), int(high)) for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = pool.map(
                _measures,
                [kinds] * processes,
                [predictions[part] for part in parts],
                [references[part] for part in parts],
            )
            measures = np.concatenate(list(results))
    means = np.ascontiguousarray(measures.T).mean(axis=1)  # summed in the order of the official script
    return {kind: float(np.round(mean * 100, 4)) for kind, mean in zip(kinds, means, strict=True)}


def _measures(
    kinds: Sequence[str], predictions: Sequence[str], references: Sequence[str]
) -> npt.NDArray[np.float64]:
    """F-measures, shape (pairs, kinds)."""
    from rouge_score import rouge_scorer

    scorer: Any = rouge_scorer.RougeScorer(list(kinds), use_stemmer=True)
    clean: Callable[[str], str] = postprocess
    rows = [
        [score.fmeasure for score in scorer.score(clean(reference), clean(prediction)).values()]
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return np.array(rows, np.float64).reshape(len(rows), len(kinds))
