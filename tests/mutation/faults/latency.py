"""Limits exceeded, limits of another scenario, and schedules that the log contradicts."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import DETAIL, SUMMARY, run, set_log
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


@fault("latency.limits")
def interactive_run_under_server_limits(tree: Path) -> None:
    for name in (DETAIL, SUMMARY):
        shutil.copy(run(tree) / name, run(tree, "Interactive") / name)


@fault("latency.limits")
def tpot_limit_one_ms_looser(tree: Path) -> None:
    set_log(run(tree, "Interactive") / DETAIL, requested_server_tpot_latency=41_000_000)


@fault("latency.early-stopping-tpot")
def one_sample_over_what_early_stopping_allows(tree: Path) -> None:
    # 210 of 24,576 over: LoadGen asks for 24,608 queries, 32 more.
    set_log(
        run(tree) / DETAIL,
        early_stopping_tpot_result=" * Run unsuccessful.  * Would need to run at least 32 more queries,",
        result_time_to_output_token_max=200_000_001,
    )


@fault("latency.early-stopping-ttft")
def p99_over_limit_but_called_valid(tree: Path) -> None:
    set_log(
        run(tree) / DETAIL,
        **{
            "result_first_token_99.00_percentile_latency_ns": 2_000_000_001,
            "result_first_token_99.90_percentile_latency_ns": 2_000_000_001,
            "result_first_token_max_latency_ns": 2_000_000_001,
        },
    )


@fault("latency.ttft")
def ttft_exactly_at_the_limit(tree: Path) -> None:
    set_log(run(tree) / DETAIL, **{"result_first_token_99.00_percentile_latency_ns": 2_000_000_000})


@fault("latency.tpot")
def tpot_over_the_limit(tree: Path) -> None:
    set_log(
        run(tree, "Interactive") / DETAIL, **{"result_time_per_output_token_99.00_percentile_ns": 40_000_001}
    )


@fault("latency.tpot")
def negative_tpot(tree: Path) -> None:
    set_log(run(tree) / DETAIL, **{"result_time_per_output_token_99.00_percentile_ns": -3665})


@fault("latency.early-stopping-ttft")
def latencies_in_contradiction(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_first_token_max_latency_ns="fast")


@fault("latency.percentile")
def percentile_lowered(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_target_latency_percentile=0.9)


@fault("latency.schedule")
def rate_raised_in_the_log(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_target_qps=44, requested_server_target_qps=44)


@fault("latency.schedule")
def schedule_of_another_seed(tree: Path) -> None:
    set_log(run(tree) / DETAIL, generated_query_duration=615_000_000_000)
