"""Figures of one log that contradict one another, and times that cannot be."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mutation.faults.edits import DETAIL, PREFIX, SUMMARY, place, run, set_log
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


def _sub(path: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, path.read_text())
    assert count, pattern
    path.write_text(text)


@fault("performance.answer-length")
def ten_times_the_tokens_of_offline(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_tokens_per_second=119817.0)
    _sub(run(tree, "Offline") / SUMMARY, r"Tokens per second: [\d.]+", "Tokens per second: 119817")


@fault("performance.answer-length")
def ten_times_the_tokens_of_server(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_completed_tokens_per_second=115641.0)
    _sub(run(tree) / SUMMARY, r"(Completed tokens per second *: )[\d.]+", r"\g<1>115641")


@fault("performance.rate")
def twice_the_samples_per_second(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_samples_per_second=81.5)


@fault("performance.rate")
def server_ends_long_after_its_last_query(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_completed_samples_per_sec=20.0)


@fault("performance.latencies")
def negative_latency(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_min_latency_ns=-5, result_first_token_min_latency_ns=-5)


@fault("performance.latencies")
def mean_above_the_maximum(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_mean_latency_ns=10**15)


@fault("performance.log-times")
def times_in_reverse_order(tree: Path) -> None:
    path = run(tree) / DETAIL
    rows = [json.loads(line[len(PREFIX) :]) for line in path.read_text().splitlines()]
    times = [row["time_ms"] for row in reversed(rows)]
    lines = [PREFIX + json.dumps(row | {"time_ms": time}) for row, time in zip(rows, times, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@fault("performance.clock")
def clock_apart_from_the_measured_time(tree: Path) -> None:
    path = run(tree, "Offline") / DETAIL
    _sub(path, r'("key": "power_end", "value": "[\d-]+) [\d:.]+"', r'\1 23:59:59.000"')


@fault("accuracy.possible-answers")
def answer_of_zeros(tree: Path) -> None:
    path = place(tree) / "accuracy" / "mlperf_log_accuracy.json"
    head, _, rest = path.read_text().partition('"data" : "')
    data, _, tail = rest.partition('"')
    path.write_text(f'{head}"data" : "{"0" * len(data)}"{tail}')


@fault("accuracy.hash")
def hash_of_zeros(tree: Path) -> None:
    _sub(place(tree) / "accuracy" / "accuracy.txt", "hash=.*", "hash=" + "0" * 64)


@fault("performance.samples-per-query")
def fewer_effective_samples_a_query(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, effective_samples_per_query=12288)
