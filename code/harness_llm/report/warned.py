"""What the live stream warned of while a test was measured, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness_llm.core import counted
from harness_llm.results.live_records import LiveRecord, LiveWarning, WarningKind

_MOST = 8


@dataclass(frozen=True)
class Warned:
    """All warnings of one kind about one replica, device or host.

    Attributes:
        kind: What they are.
        who: Whom they are about.
        said: What the first one says of it.
        count: How many there were.
        first_s: When the first began, seconds of the test.
        longest_s: The longest of them; None where none says how long it took.
        longest_at_s: When that one began.
        total_s: Their length together, as far as it lies within the test.
        is_open: Whether one of them had not ended when the stream did.
    """

    kind: WarningKind
    who: str
    said: str
    count: int
    first_s: float
    longest_s: float | None
    longest_at_s: float
    total_s: float
    is_open: bool

    @property
    def unended(self) -> str:
        """Said of one of which nobody told the end."""
        return "; one had not ended when the run did" if self.is_open else ""


def warned(records: Sequence[LiveRecord], origin_s: float, end_s: float) -> list[Warned]:
    """What was warned of between the first query of a test and its last answer, by kind and by whom.

    Args:
        records: Of live.jsonl.
        origin_s: The monotonic time at which the test's own time is 0.
        end_s: The end of the test, seconds of its own time.
    """
    found: dict[tuple[WarningKind, str], dict[float, LiveWarning]] = {}
    for warning in (warning for record in records for warning in record.warnings):
        if -(warning.seconds or 0.0) <= warning.at_s - origin_s <= end_s:  # one that is over is said again
            found.setdefault((warning.kind, _who(warning)), {})[warning.at_s] = warning
    return [_together(kind, who, list(each.values()), origin_s, end_s) for (kind, who), each in found.items()]


def _who(warning: LiveWarning) -> str:
    return warning.text.partition(":")[0]


def _together(
    kind: WarningKind, who: str, each: Sequence[LiveWarning], origin_s: float, end_s: float
) -> Warned:
    longest = max(each, key=lambda warning: warning.seconds or 0.0)
    return Warned(
        kind=kind,
        who=who,
        said=each[0].text.partition(":")[2].strip(),
        count=len(each),
        first_s=max(0.0, each[0].at_s - origin_s),
        longest_s=longest.seconds,
        longest_at_s=max(0.0, longest.at_s - origin_s),
        total_s=sum(_within(warning, origin_s, end_s) for warning in each),
        is_open=any(warning.seconds is None for warning in each),
    )


def _within(warning: LiveWarning, origin_s: float, end_s: float) -> float:
    """How long it lasted while the test did, seconds."""
    begin_s = warning.at_s - origin_s
    return round(max(0.0, min(end_s, begin_s + (warning.seconds or 0.0)) - max(0.0, begin_s)), 3)


def told_of(found: Sequence[Warned], clock: Callable[[float], str]) -> Iterator[str]:
    """A sentence for each, those of compilation first.

    Args:
        found: As `warned` gives them.
        clock: How people read a time of the test.
    """
    order = ("compile", "loss", "pause", "throttle", "host")
    for each in sorted(found, key=lambda each: order.index(each.kind))[:_MOST]:
        when, times = clock(each.first_s), counted(each.count, "time")
        if each.kind == "compile":
            yield (
                f"{each.who} compiled while it was measured: {counted(each.count, 'line')} of its log, the "
                f"first at {when}: “{each.said}”. A warm-up that covers the shapes of the run avoids it."
            )
        elif each.kind == "pause" and each.longest_s is not None:
            yield (
                f"{each.who} paused {times}, {each.total_s:.1f} s in all; the longest pause took "
                f"{each.longest_s:.2f} s, from {clock(each.longest_at_s)}{each.unended}."
            )
        else:
            often = f", {times}" if each.count > 1 else ""
            lasted = f", {each.total_s:.0f} s in all" if each.total_s else ""
            first = "; first" if each.count > 1 else ","
            said = each.said.rpartition(", for ")[0] or each.said
            yield f"{each.who}: {said}{often}{lasted}{first} from {when}."
