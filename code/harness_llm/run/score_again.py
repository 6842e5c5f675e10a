"""Check of a run's scores against its answers, which takes as long as scoring them did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness_llm.check.judgement import Check, guarded
from harness_llm.core import Mode, counted
from harness_llm.errors import HarnessError
from harness_llm.logs.source import read_text
from harness_llm.results.accuracy_txt import official_scores
from harness_llm.results.paths import ACCURACY_JSON, ACCURACY_TXT, RUN_JSON
from harness_llm.results.reading import read_record, sound_record
from harness_llm.results.records import AccuracyRecord, RunRecord
from harness_llm.run.score import score_again

_DIGITS = 1e-4  # relative; scores are made of the same answers by the same code


def score_again_checks(run: Path) -> Iterator[Check]:
    """Whether accuracy.txt and accuracy.json of each accuracy test say what its answers score.

    Args:
        run: A run folder with a sound run.json.
    """
    for name in read_record(run / RUN_JSON, RunRecord).tests:
        if name.endswith(f"/{Mode.ACCURACY.folder}"):
            yield from guarded("accuracy", name, partial(_checks, run / name, name))


def _checks(folder: Path, name: str) -> Iterator[Check]:
    result = name.partition("/")[0]
    try:
        made = score_again(folder)
    except HarnessError as error:
        remedy = error.remedy or "Score the accuracy log: harness-llm score RUN."
        yield Check("accuracy.scored-again", False, str(error), "answers to score", "", remedy, name, result)
        return
    if isinstance(made, str):
        found = made or "nothing scores these answers"
        yield Check(
            "accuracy.scored-again", None, found, "scores, if there are any", path=name, result=result
        )
        return
    wanted = official_scores(made.official_line())
    record, _ = sound_record(folder / ACCURACY_JSON, AccuracyRecord)
    written = {
        ACCURACY_TXT: official_scores(read_text(folder / ACCURACY_TXT)[0]),
        ACCURACY_JSON: {} if record is None else dict(record.scores),
    }
    for file, scores in written.items():
        asked = wanted if file == ACCURACY_TXT else dict(made.scores)
        wrong = [
            f"{key} {scores.get(key)} instead of {value:g}"
            for key, value in asked.items()
            if not math.isclose(scores.get(key, math.nan), value, rel_tol=_DIGITS)
        ]
        yield Check(
            "accuracy.scored-again",
            not wrong,
            "; ".join(wrong) or f"{counted(len(asked), 'figure')} of {counted(made.samples, 'answer')}",
            "what the answers score",
            "",
            "Score the accuracy log: harness-llm score RUN." if wrong else "",
            f"{name}/{file}",
            result,
        )
