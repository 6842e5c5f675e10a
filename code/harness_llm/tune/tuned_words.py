"""What a tuning found, in sentences."""

from __future__ import annotations

import math

from harness_llm.tune.search import TunedRate


def describe(found: TunedRate) -> list[str]:
    """What was found, a sentence each."""
    return [*_against_limits(found), *_left(found), *_prediction(found)]


def _against_limits(found: TunedRate) -> list[str]:
    if found.judged is None:
        return []
    counts = (("TTFT", found.judged.ttft), ("TPOT", found.judged.tpot))
    lines = [
        f"{name}: {count.over:,} samples over the limit, {count.allowed:,} allowed; "
        f"p99 {count.p99_ns / 1e6:,.1f} ms"
        for name, count in counts
    ]
    return [*lines, f"{found.judged.binds} limits the rate"]


def _left(found: TunedRate) -> list[str]:
    if not found.qps or not math.isfinite(found.even_qps):
        return []
    left = (
        f"left: at {found.even_qps:.4g} queries/s ({found.even_qps / found.qps - 1:+.1%}) half of the runs "
        "would be VALID"
    )
    if not math.isfinite(found.seeds_sd):
        return [left]
    luck = (
        f"luck of the schedule: best rates of other seeds spread by {found.seeds_sd:.1%}; the seed of this "
        f"run is {found.seed_luck:+.1%} from their mean"
    )
    return [left, luck]


def _prediction(found: TunedRate) -> list[str]:
    if found.predicted is None or found.judged is None:
        return []
    said, seen = found.predicted, found.judged
    pairs = ((said.ttft, seen.ttft), (said.tpot, seen.tpot))
    both = ", ".join(f"{one.p99_ns / 1e6:,.1f} for {other.p99_ns / 1e6:,.1f} ms" for one, other in pairs)
    return [f"predicted p99 of TTFT and TPOT before the end: {both}"]
