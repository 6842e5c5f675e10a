"""What slows a run: what lasts, steps that took too long, and what replicas' logs say of compilation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness_llm.engines import KINDS
from harness_llm.launch.child import Child
from harness_llm.results.live_records import DeviceState, LiveWarning, ReplicaState, WarningKind
from harness_llm.system.others import Others

_PAUSE_S = 3.0
"""From when on a replica that has work and generates nothing is worth a warning while that lasts."""
_APART_S = 10.0
"""One that returns within this time is the same: a card at its power limit reports it every other second."""
_SAME_S = 2.0  # starts of one pause, by heartbeats and by the engine's steps
_PIECE_BYTES = 1 << 20
_LINE = 160  # characters of a log's line that people see
_PREFIX = re.compile(r"^(\(\w+( pid=\d+)?\) )*((INFO|WARNING|DEBUG|ERROR) )?(\d\d-\d\d \d\d:\d\d:\d\d )?")


def slowing(
    replicas: Sequence[ReplicaState], others: Others | None, devices: Sequence[DeviceState]
) -> dict[str, _Episode]:
    """What slows the run now, by who it is about."""
    found = {
        it.name: _Episode("pause", "has generated nothing though it has work", it.still_s)
        for it in replicas
        if it.still_s >= _PAUSE_S
    }
    if others is not None and others.now is not None and others.is_noticeable:
        found["host"] = _Episode(
            "host", f"others use {others.now:.1f} of {others.cores} cores", apart_s=_APART_S
        )
    for device in devices:
        if device.throttled:
            what = f"throttled by {' and '.join(device.throttled)}"
            found[f"device {device.index}"] = _Episode("throttle", what, apart_s=_APART_S)
    return found


@dataclass
class _Episode:
    """Something that lasts.

    Attributes:
        kind: Of the warning.
        what: For people.
        lasted_s: How long it had lasted when it was noticed.
        apart_s: How long it must be gone for its return to count as a new one.
        began_s: When it began, monotonic seconds.
        seen_s: When it was seen last.
    """

    kind: WarningKind
    what: str
    lasted_s: float = 0.0
    apart_s: float = 0.0
    began_s: float = field(default=0.0)
    seen_s: float = field(default=0.0)


class Episodes:
    """Says of what lasts when it begins, and when it is over.

    Attributes:
        pauses: When the last pause of each replica began, monotonic seconds.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Episode] = {}
        self.pauses: dict[str, float] = {}

    def look(self, now_s: float, found: Mapping[str, _Episode]) -> list[LiveWarning]:
        """What began or was over since the last look."""
        warnings = []
        gone = [who for who, it in self._open.items() if who not in found and now_s - it.seen_s >= it.apart_s]
        for who in gone:
            over = self._open.pop(who)
            warnings.append(_warning(who, over, (over.seen_s if over.apart_s else now_s) - over.began_s))
        for who, episode in found.items():
            if who in self._open:
                self._open[who].seen_s = now_s
            else:
                episode.began_s, episode.seen_s = now_s - episode.lasted_s, now_s
                self._open[who] = episode
                if episode.kind == "pause":
                    self.pauses[who] = episode.began_s
                warnings.append(_warning(who, episode, None))
        return warnings


class PauseEar:
    """Says of each pause between an engine's steps once, when it is over."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def hear(
        self,
        name: str,
        pauses: Sequence[tuple[int, float, float]],
        now_s: float,
        began_s: float | None,
        known_s: float | None,
    ) -> Iterator[LiveWarning]:
        """Warnings of pauses that are new.

        Args:
            name: The replica's name.
            pauses: As of `Heartbeat`.
            now_s: Now, monotonic seconds.
            began_s: When the test began that it serves; None where none runs: then they matter to nobody.
            known_s: When its last pause began of which `Episodes` told.
        """
        told, self._told[name] = self._told.get(name, 0), pauses[-1][0] + 1 if pauses else 0
        for number, ago_s, seconds in pauses:
            at_s = now_s - ago_s - seconds
            is_known = known_s is not None and abs(at_s - known_s) <= _SAME_S
            if number >= told and began_s is not None and at_s >= began_s and not is_known:
                text = f"{name}: a step took {seconds:.2f} s, far longer than those around it"
                yield LiveWarning(kind="pause", at_s=at_s, text=text, seconds=round(seconds, 3))


class LogEye:
    """Follows replicas' logs, and returns the new lines that report work which slows a test."""

    def __init__(self) -> None:
        self._read: dict[str, int] = {}

    def look(self, child: Child, engine: str, now_s: float, began_s: float | None) -> Iterator[LiveWarning]:
        """Warnings of lines that are new; what was written while no test ran is passed over.

        Args:
            child: The replica.
            engine: Its engine's kind.
            now_s: Now, monotonic seconds.
            began_s: When the test began that it serves; None where none runs.
        """
        if not (pattern := KINDS[engine].slow_lines):
            return
        end = child.handle.log_size()
        known, self._read[child.name] = self._read.get(child.name, end), end
        if began_s is None or end <= known:
            return
        start = max(known, end - _PIECE_BYTES)
        whole, newline, _ = child.handle.log_text(start).rpartition("\n")  # it may have grown since
        self._read[child.name] = start + len((whole + newline).encode())
        for line in whole.split("\n"):
            if re.search(pattern, line):
                said = _PREFIX.sub("", line.rpartition("\r")[2])[:_LINE]
                yield LiveWarning(kind="compile", at_s=now_s, text=f"{child.name}: {said}", seconds=0.0)


def _warning(who: str, episode: _Episode, seconds: float | None) -> LiveWarning:
    lasted = "" if seconds is None else f", for {seconds:.0f} s"
    text = f"{who}: {episode.what}{lasted}"
    return LiveWarning(kind=episode.kind, at_s=episode.began_s, text=text, seconds=seconds)
