"""What a test's curves say, as sentences: subject first, what was found, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness_llm.core import counted
from harness_llm.report.episodes import Episode, Room, episodes
from harness_llm.report.measured import Measured
from harness_llm.report.phases import Phase, Stall
from harness_llm.report.warned import told_of
from harness_llm.results.energy import told

_MUCH = 0.03  # of the tokens: a part that costs so much is worth a word on what to do
_MOST_STALLS = 8
_SETTLED_SHARE = 0.2  # of the arrivals' time, after which as many should be answered as come
_KEEPS_UP = 0.95
_LEAST_CAME = 100
_TO_DO = {
    "ramp": "A longer test (min_duration) makes its share smaller.",
    "steady": "Look at the chart for where the rate fell.",
    "tail": "Its last answers ran alone; a longer test (min_duration) makes its share smaller.",
}


def clock(seconds: float) -> str:
    """A time of a test as minutes and seconds, to a tenth where it is short."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def findings(measured: Measured) -> list[str]:
    """What a reader should know of where the time went, most telling first."""
    return [
        *_stalls(measured),
        *told_of(measured.warned, clock),
        *_behind(measured),
        *map(_episode, episodes(measured)),
        *_costs(measured.phases),
        *_energy(measured),
    ]


def _energy(measured: Measured) -> Iterator[str]:
    for phase in measured.phases:
        if phase.name == "steady" and (known := told(measured.joules_per_token(phase))):
            yield f"The steady part took {known}."


def _behind(measured: Measured) -> Iterator[str]:
    """Whether samples came faster than they were answered, once the first of them had been."""
    last = float(measured.rows.arrival_s[-1])
    since = last * _SETTLED_SHARE
    came = int((measured.rows.arrival_s >= since).sum())
    left = int(((measured.rows.finished_s >= since) & (measured.rows.finished_s <= last)).sum())
    if measured.is_timed and came >= _LEAST_CAME and left < _KEEPS_UP * came:
        seconds = last - since
        yield (
            f"The engine fell behind: from {clock(since)} to {clock(last)}, {came / seconds:,.2f} samples/s "
            f"came and {left / seconds:,.2f} were answered. Lower target_qps, or make the system faster."
        )


def _stalls(measured: Measured) -> Iterator[str]:
    found = sorted(measured.stalls, key=lambda stall: -stall.seconds)[:_MOST_STALLS]
    for stall in sorted(found, key=lambda stall: stall.start_s):
        yield (
            f"{_who(stall, measured)} stood still for {stall.seconds:.1f} s, from {clock(stall.start_s)} to "
            f"{clock(stall.end_s)}, while {counted(stall.waiting, 'sample')} waited."
        )
    if len(measured.stalls) > len(found):
        total = sum(stall.seconds for stall in measured.stalls)
        yield f"There were {len(measured.stalls)} such pauses, {total:.1f} s in all; the longest are named."
    if found:
        yield "Read what the replica's log says of these times; a pause of the host leaves no line there."


def _who(stall: Stall, measured: Measured) -> str:
    if len(measured.replicas) == 1:
        return "The engine"
    if set(stall.replicas) == set(measured.replicas):
        return "Every replica"
    return _named(stall.replicas).capitalize()


def _named(replicas: Sequence[int]) -> str:
    return f"replica{'s' * (len(replicas) > 1)} {', '.join(map(str, replicas))}"


def _episode(episode: Episode) -> str:
    over = [f"{count:,} over the limit of {name}" for name, count in episode.over.items() if count]
    counts = " and ".join(over)
    when = clock(episode.start_s)
    if episode.end_s - episode.start_s >= 1:
        when += f" to {clock(episode.end_s)}"
    still = sum(stall.seconds for stall in episode.stalls)
    why = [f"replicas stood still for {still:.1f} s"] if still else []
    if episode.is_busier:
        why.append(f"samples came {episode.arrivals:.1f} times as fast as over the whole test")
    if episode.is_fuller:
        why.append(f"{episode.in_flight:.1f} times the usual number was in flight")
    if episode.replicas:
        why.append(f"only {_named(episode.replicas)} answered those")
    then = f" Then {', and '.join(why)}." if why else ""
    return f"Of {counted(episode.samples, 'sample')} that arrived at {when}, {counts}.{then}"


def _costs(parts: tuple[Phase, ...]) -> Iterator[str]:
    for part in parts:
        if part.cost >= _MUCH:
            yield (
                f"The {part.name} part lost {part.cost * 100:.1f} % of the tokens that the usual rate would "
                f"have made. {_TO_DO[part.name]}"
            )


def room(found: Room) -> str:
    """How a test stands against a limit."""
    if found.allowed < 0:
        return f"{found.over:,} over; too few samples to judge by"
    return f"{found.over:,} over, {found.allowed:,} allowed"
