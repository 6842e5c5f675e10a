"""ROUGE as the official llama2-70b script computes it, without its downloads.

The official script (language/llama2-70b/evaluate-accuracy.py, @b66003e1) strips both texts, puts each
sentence on its own line with nltk's Punkt model, and averages the F-measures of rouge-score with the Porter
stemmer. Only rougeLsum sees lines: the other three treat a line break like a blank. Punkt's data is a
download, so rougeLsum is scored where that data is installed, and left out elsewhere instead of being scored
differently.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.accuracy.metrics.metric import Answer, Scores
from harness_llm.accuracy.metrics.sentences import COMMAND, has_sentence_model, split_sentences
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import ConfigError, DatasetError
from harness_llm.installed import require_installed

_ALWAYS = ("rouge1", "rouge2", "rougeL")
BY_SENTENCE = "rougeLsum"
_POOL_FROM = 2_000
"""Pairs from which a process pool pays: starting a process takes 1 s of CPU (importing nltk), a pair 0.6 ms
(50 words) to 6 ms (150 words)."""


class Rouge:
    """Mean F-measures times 100; `rougeLsum` compares sentence by sentence and needs nltk's data."""

    name = "rouge"
    scores: tuple[str, ...] = (*_ALWAYS, BY_SENTENCE)

    def check(self, table: SampleTable, wanted: Collection[str] = ()) -> None:
        """Whether there are reference answers, the packages, and the sentence model where it is needed."""
        if table.references is None:
            raise DatasetError(
                f"{table.source or table.name}: has no reference answers, so accuracy cannot be scored",
                "Add a reference to every sample, or run with --test performance only.",
            )
        require_installed("rouge_score", "nltk")
        if BY_SENTENCE in wanted and not has_sentence_model():
            raise ConfigError(
                f"the benchmark is judged by {BY_SENTENCE}, and the data of nltk's sentence model "
                "(punkt_tab) is not on this machine",
                f"Get it once: {COMMAND}",
            )

    def score(self, answers: Iterable[Answer], table: SampleTable, tokenizer: Tokenizer) -> Scores:
        """Mean F-measures and the characters of all answers."""
        assert table.references is not None
        given = list(answers)
        texts = tokenizer.decode(answer.tokens for answer in given)
        values = score_rouge(texts, [table.references[answer.sample] for answer in given])
        why = f"Punkt's data is missing: {COMMAND}"
        return Scores(
            values,
            characters=sum(len(postprocess(text)) for text in texts),
            left_out={name: why for name in self.scores if name not in values},
        )


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
    kinds = (*_ALWAYS, BY_SENTENCE) if has_sentence_model() else _ALWAYS
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
    rows = [
        [score.fmeasure for score in scorer.score(postprocess(reference), postprocess(prediction)).values()]
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return np.array(rows, np.float64).reshape(len(rows), len(kinds))
