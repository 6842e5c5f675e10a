"""What is said of a running test in words, alike in lines and on a screen."""

from __future__ import annotations

from harness_llm.results.latency_bins import Percentiles
from harness_llm.results.live_records import HostState
from harness_llm.system.others import least_noticeable
from harness_llm.views.so_far import RunSoFar, TestSoFar

QUIET_WORTH_SAYING_S = 15.0


def duration(seconds: float | None) -> str:
    """Minutes and seconds."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02d}"


def limits(test: TestSoFar) -> list[tuple[str, Percentiles, float | None, int]]:
    """Of each latency its name, its times, its limit in ms, and the samples over it; none in Offline."""
    state = test.state
    if state.ttft_limit_ms is None and not test.ttft.count:
        return []
    return [
        ("TTFT", test.ttft, state.ttft_limit_ms, state.ttft_over),
        ("TPOT", test.tpot, state.tpot_limit_ms, state.tpot_over),
    ]


def room(test: TestSoFar, over: int) -> str:
    """Samples over a limit, how many may be, and how many there will be at this rate."""
    course = test.on_course(over)
    text = f"{over:,} over, {test.state.allowed:,} allowed"
    return f"{text}, on course for {course:,}" if course > over else text


def latencies(test: TestSoFar) -> list[str]:
    """A sentence for each latency that is judged."""
    found = []
    for name, times, limit_ms, over in limits(test):
        median, tail = times.at(50), times.at(99)
        if median is None or tail is None:
            found.append(f"{name} -")
            continue
        text = f"{name} p50 {median * 1000:,.0f} p99 {tail * 1000:,.0f}"
        found.append(f"{text} of {limit_ms:,.0f} ms, {room(test, over)}" if limit_ms else f"{text} ms")
    return found


def rates(test: TestSoFar) -> str:
    """Tokens a second, and how likely the limits hold where any is judged."""
    said = f"{test.tokens_per_s_now:,.1f} now, {test.tokens_per_s:,.1f} mean"
    if test.p_valid is None or not test.is_running:
        return said
    return f"{said}, P(VALID) {test.p_valid:.2f}"


def counts(test: TestSoFar) -> str:
    """Samples issued and done."""
    total = f" of {test.state.expected:,}" if test.state.expected else ""
    return f"{test.state.issued:,} issued, {test.state.done:,}{total} done"


def others(host: HostState) -> str:
    """What others use of the host; empty where that does not matter."""
    used = host.other_cores
    if used is None or used < least_noticeable(host.cores):
        return ""
    return f"others use {used:.1f} of {host.cores} cores"


def describe(test: TestSoFar, run: RunSoFar) -> str:
    """One line on a test."""
    name = test.state.name
    parts = [
        f"{name}: {test.state.stage}" if not test.state.issued else name,
        counts(test),
        f"tokens/s {rates(test)}",
        *latencies(test),
        f"elapsed {duration(test.elapsed_s)}, about {duration(test.left_s)} left"
        if test.is_running
        else f"ended after {duration(test.elapsed_s)}",
    ]
    if said := others(run.last.host):
        parts.append(said)
    if test.quiet_s > QUIET_WORTH_SAYING_S:
        parts.append(f"nothing finished for {test.quiet_s:.0f} s, processes alive")
    return "; ".join(parts)
