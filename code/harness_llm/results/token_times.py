"""When the tokens of a test were made; an answer's are taken to come evenly from its start to its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.results.sample_rows import Floats, SampleRows

_INSTANT_S = 1e-6


def begins_s(rows: SampleRows, places: int | None) -> Floats:
    """When the engine began to generate each answer, seconds; NaN where that is not known.

    With its first token. Where none was asked for, in Offline: when a place became free for it, if the engine
    takes its samples in order and works on `places` of them at once; without `places` not before its end.
    """
    begins = rows.first_token_s.copy()
    unknown = np.isnan(begins) & rows.is_finished
    if places is None:
        begins[unknown] = rows.finished_s[unknown]
        return begins
    for replica in np.unique(rows.replica[unknown]):
        (those,) = np.nonzero(unknown & (rows.replica == replica))
        freed = np.sort(rows.finished_s[those])
        begins[those[:places]] = rows.issued_s[those[:places]]
        begins[those[places:]] = np.maximum(
            freed[: max(0, len(those) - places)], rows.issued_s[those[places:]]
        )
    begun: Floats = np.minimum(begins, np.where(unknown, rows.finished_s, np.inf))
    return begun


def spread(begin_s: Floats, end_s: Floats, amounts: npt.NDArray[Any], edges_s: Floats) -> Floats:
    """The sum of all amounts between each pair of edges, each spread evenly from its start to its end.

    Args:
        begin_s: Seconds, shape (amounts,).
        end_s: Likewise; one that is not later counts as an instant.
        amounts: Shape (amounts,).
        edges_s: Rising, shape (stretches + 1,).

    Returns:
        Shape (stretches,).
    """
    if not len(amounts):
        return np.zeros(len(edges_s) - 1)
    begin_s = np.minimum(begin_s, end_s - _INSTANT_S)
    slope = amounts / (end_s - begin_s)
    times = np.concatenate([begin_s, end_s])
    order = np.argsort(times)
    times, rate = times[order], np.cumsum(np.concatenate([slope, -slope])[order])
    made = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(times))])
    between: Floats = np.maximum(np.diff(np.interp(edges_s, times, made, left=0.0)), 0.0)
    return between
