"""A run on one screen, 80 columns by 24 lines and up: rates, latencies against limits, replicas, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from harness_llm.core import counted
from harness_llm.results.live_records import DeviceState, LiveWarning
from harness_llm.terminal import shown
from harness_llm.views.live_words import (
    QUIET_WORTH_SAYING_S,
    counts,
    duration,
    limits,
    others,
    rates,
    room,
)
from harness_llm.views.so_far import ReplicaSoFar, RunSoFar, TestSoFar

_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COURSE, _REPLICA_COURSE, _BAR = 20, 8, 10
_LABEL = 10
_MOST_REPLICAS = 8
_MOST_WARNINGS = 4
_GIB = 2**30


def screen(run: RunSoFar, marker: str, width: int = 80, height: int = 24) -> Text:
    """All of it, no wider and no higher than it may be; the warnings keep their place.

    Args:
        run: The run.
        marker: Shown beside the name of each test.
        width: Columns.
        height: Lines.
    """
    tests = run.running or list(run.tests.values())[-1:]
    foot = [_warning(warning, run) for warning in list(run.warnings.values())[-_MOST_WARNINGS:]]
    lines = [Text(f"{duration(run.elapsed_s):>7}  {shown(run.last.stage)}", style="bold")]
    for test in tests:
        lines += _test(test, marker)
    lines += _replicas(list(run.replicas.values()), run.last.devices)
    lines += _devices_alone(run)
    if host := _host(run):
        lines.append(_labelled("host", Text(host)))
    lines = lines[: max(1, height - 1 - len(foot))] + foot
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as blocks, the highest of them full."""
    last = list(values)[-width:]
    most = max(last, default=0.0)
    if most <= 0:
        return ""
    return "".join(_BLOCKS[max(0, round(value / most * (len(_BLOCKS) - 1)))] for value in last)


def bar(share: float, width: int = _BAR) -> str:
    """A share from 0 to 1 as a bar; what is more fills it."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width, "·")


def _labelled(label: str, text: Text) -> Text:
    return Text(f"{label:<{_LABEL}} ").append_text(text)


def _test(test: TestSoFar, marker: str) -> Iterable[Text]:
    state = test.state
    left = f"about {duration(test.left_s)} left" if test.is_running else "ended"
    name = f"{state.name}{f'  [{marker}]' if marker else ''}"
    yield Text(shown(name), style="bold cyan").append(
        f"  elapsed {duration(test.elapsed_s)}, {left}", style="not bold default"
    )
    yield _labelled("tokens/s", Text(f"{rates(test)}  {sparkline(test.tokens.course, _COURSE)}"))
    yield _labelled("samples", Text(counts(test)))
    for name, times, limit_ms, over in limits(test):
        median, tail = times.at(50), times.at(99)
        if median is None or tail is None:
            yield _labelled(name, Text("-"))
            continue
        text = f"p50 {median * 1000:,.0f}  p99 {tail * 1000:,.0f}"
        if limit_ms is None:
            yield _labelled(name, Text(f"{text} ms"))
            continue
        style = "red" if over > state.allowed else "yellow" if test.on_course(over) > state.allowed else ""
        share = bar(tail * 1000 / limit_ms)
        yield _labelled(name, Text(f"{text} of {limit_ms:,.0f} ms, {room(test, over)} {share}", style=style))
    if state.lost:
        yield _labelled("verdict", Text(shown(state.lost), style="red"))
    if test.is_running and test.quiet_s > QUIET_WORTH_SAYING_S:
        said = f"nothing finished for {test.quiet_s:.0f} s; processes alive"
        yield _labelled("quiet", Text(said, style="yellow"))


def _replicas(replicas: Sequence[ReplicaSoFar], devices: Sequence[DeviceState]) -> Iterable[Text]:
    """The first ones; of the others only how many there are."""
    by_index = {device.index: device for device in devices}
    for replica in replicas[:_MOST_REPLICAS]:
        state = replica.state
        label = shown(state.name.rpartition("/")[2].replace("replica-", "replica "))
        if state.stage != "ready":
            yield _labelled(label, Text(shown(state.stage)))
            continue
        waiting = 0 if state.capacity is None else max(0, state.in_flight - state.capacity)
        parts = [
            f"{sparkline(replica.answers.course, _REPLICA_COURSE):<{_REPLICA_COURSE}}",
            f"{replica.answers.now or 0.0:,.1f}/s",
            f"{state.in_flight - waiting:,} at work" + (f", {waiting:,} wait" if waiting else ""),
            "" if state.kv_cache is None else f"KV {100 * state.kv_cache:.0f} %",
            *(_device(by_index[index]) for index in state.devices if index in by_index),
        ]
        yield _labelled(label, Text("  ".join(filter(None, parts))))
    if len(replicas) > _MOST_REPLICAS:
        yield _labelled("", Text(f"and {counted(len(replicas) - _MOST_REPLICAS, 'more replica')}"))


def _devices_alone(run: RunSoFar) -> Iterable[Text]:
    """Devices of which nobody says which replica has them."""
    known = {index for replica in run.replicas.values() for index in replica.state.devices}
    for device in run.last.devices:
        if device.index not in known:
            yield _labelled(f"device {device.index}", Text(_device(device)))


def _device(device: DeviceState) -> str:
    said = {
        " W": device.watts,
        " MHz": device.mhz,
        " °C": device.celsius,
        " % busy": None if device.busy is None else 100 * device.busy,
    }
    return " ".join(f"{value:,.0f}{unit}" for unit, value in said.items() if value is not None)


def _host(run: RunSoFar) -> str:
    host = run.last.host
    parts = [others(host)]
    if host.memory_bytes:
        used = host.memory_bytes - host.memory_free_bytes
        parts.append(f"memory {used / _GIB:,.1f} of {host.memory_bytes / _GIB:,.1f} GiB")
    if host.disk_free_bytes:
        parts.append(f"disk {host.disk_free_bytes / _GIB:,.0f} GiB free")
    return "; ".join(filter(None, parts))


def _warning(warning: LiveWarning, run: RunSoFar) -> Text:
    at = duration(warning.at_s - run.last.began_at_s)
    return Text(shown(f"! {at} {warning.text}"), style="yellow" if warning.seconds is None else "dim")
