"""How long a replica that has work may generate nothing: by what it has shown, or by the user."""

from __future__ import annotations

from dataclasses import dataclass

from harness_llm.transport.wire import Heartbeat

PATIENCE_S = 15.0
"""Least time that an engine is given for its next token once its pace is known, seconds."""

FIRST_PATIENCE_S = 60.0
"""Least time until its pace is known: the first steps of a test may compile kernels for new shapes."""

STALL_S = 1800.0
"""Longest time without progress, seconds, also where an engine cannot say how far it is."""

_SLOWEST_PROMPT_S = 0.01  # for each token of a prompt, before any was measured
_STEPS_KNOWN = 5  # steps forward after which its pace is known
_GAP_FACTOR = 10.0  # of the longest time that it has taken to go forward so far
_PROMPT_FACTOR = 3.0  # of the time that the longest prompt takes at the pace so far


@dataclass
class Pace:
    """Watches one replica's own progress by its heartbeats, whatever others do meanwhile.

    A replica with nothing in flight is idle, never stalled. Requests that are asked of it are no progress;
    tokens, first tokens and answers are. A heartbeat that does not come is silence, and not judged here.

    Attributes:
        limit_s: Longest time without progress, seconds, by the user; None derives it.
    """

    limit_s: float | None
    _first: Heartbeat = Heartbeat()
    _last: Heartbeat = Heartbeat()
    _moved_s: float = 0.0
    _steps: int = 0
    _longest_gap_s: float = 0.0
    _busy_s: float = 0.0

    def hear(self, heartbeat: Heartbeat, now_s: float) -> float | None:
        """Take in a heartbeat; the seconds for which it has gone nowhere, if they are too many, else None."""
        if heartbeat is self._last:  # nothing has come since
            return None
        last, self._last = self._last, heartbeat
        if not last.in_flight or not heartbeat.in_flight:
            self._moved_s = now_s
            self._first = self._first if self._steps else heartbeat
            return None
        gap = now_s - self._moved_s
        if _moved(last, heartbeat):
            self._steps += 1
            self._longest_gap_s = max(self._longest_gap_s, gap)
            self._busy_s += gap
            self._moved_s = now_s
            return None
        return gap if gap > self.patience_s else None

    def still_s(self, now_s: float) -> float:
        """For how long it has generated nothing though it has work; 0 for an engine that cannot say."""
        last = self._last
        return now_s - self._moved_s if last.in_flight and last.generated is not None else 0.0

    @property
    def patience_s(self) -> float:
        """How long it may generate nothing now, seconds."""
        if self.limit_s is not None:
            return self.limit_s
        if self._last.generated is None:
            return STALL_S
        prompt_s = self._longest_prompt_s()
        if self._steps < _STEPS_KNOWN:
            return min(STALL_S, max(FIRST_PATIENCE_S, prompt_s))
        return min(STALL_S, max(PATIENCE_S, _GAP_FACTOR * self._longest_gap_s, _PROMPT_FACTOR * prompt_s))

    def _longest_prompt_s(self) -> float:
        first, last = self._first, self._last
        begun = max(last.first_tokens - first.first_tokens, last.answers - first.answers)
        if begun <= 0 or not last.prompt_tokens:
            return last.longest_prompt * _SLOWEST_PROMPT_S
        return last.longest_prompt * self._busy_s / (begun * last.prompt_tokens / last.requests)


def _moved(last: Heartbeat, now: Heartbeat) -> bool:
    return (last.generated, last.first_tokens, last.answers) != (now.generated, now.first_tokens, now.answers)
