"""What the records of a run say together: the sums, rates and courses that every view shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness_llm.results.latency_bins import Percentiles
from harness_llm.results.live_records import LiveRecord, LiveWarning, ReplicaState, TestState
from harness_llm.views.odds import Odds

_NOW_S = 10.0
_COURSE = 60  # rates kept, a record each
_MOST_LINES = 50


class _Rate:
    """Of a count that grows: now, and its course."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int]] = deque()
        self.course: deque[float] = deque(maxlen=_COURSE)

    def take(self, at_s: float, count: int) -> None:
        if self._past and count < self._past[-1][1]:  # it counts anew
            self._past.clear()
        if self._past and at_s > self._past[-1][0]:
            self.course.append((count - self._past[-1][1]) / (at_s - self._past[-1][0]))
        self._past.append((at_s, count))
        while at_s - self._past[0][0] > _NOW_S:
            self._past.popleft()

    @property
    def now(self) -> float | None:
        """A second, over the last 10 s or since it is known where that is less; None within the first."""
        (begin_s, first), (end_s, last) = self._past[0], self._past[-1]
        return (last - first) / (end_s - begin_s) if end_s - begin_s >= 1 else None


@dataclass
class TestSoFar:
    """One test.

    Attributes:
        state: Its last record.
        at_s: When that was written.
        ttft: All its times to first token.
        tpot: All its times for each further token.
        tokens: The rate of its output tokens.
        is_running: Whether the last record of the run has it.
    """

    __test__ = False  # no pytest class

    state: TestState
    at_s: float
    ttft: Percentiles = field(default_factory=Percentiles)
    tpot: Percentiles = field(default_factory=Percentiles)
    tokens: _Rate = field(default_factory=_Rate)
    is_running: bool = True
    _ttft_odds: Odds = field(default_factory=Odds)
    _tpot_odds: Odds = field(default_factory=Odds)

    def take(self, state: TestState, at_s: float) -> None:
        """Take in its next record."""
        self.state, self.at_s = state, at_s
        self.ttft.add(state.ttft)
        self.tpot.add(state.tpot)
        self.tokens.take(at_s, state.tokens)
        self._ttft_odds.take(at_s, state.done, state.ttft_over)
        self._tpot_odds.take(at_s, state.done, state.tpot_over)

    @property
    def elapsed_s(self) -> float:
        """Seconds from its begin to its last record."""
        return self.at_s - self.state.began_at_s

    @property
    def quiet_s(self) -> float:
        """Seconds in which nothing was issued, begun or finished."""
        return self.at_s - self.state.changed_at_s

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of complete samples a second, since the test began."""
        return self.state.tokens / max(self.elapsed_s, 1e-9)

    @property
    def tokens_per_s_now(self) -> float:
        """The same of the last 10 s, or since the test began where that is less."""
        now = self.tokens.now
        return self.tokens_per_s if now is None else now

    @property
    def total(self) -> int:
        """Samples that it will have, as far as that is known."""
        return max(self.state.expected or 0, self.state.issued)

    @property
    def left_s(self) -> float | None:
        """Estimate of the seconds left; None while nothing is known."""
        state = self.state
        if state.is_timed and state.issued < self.total:  # LoadGen sends at this rate
            return (self.total - state.issued) / state.target_qps
        if not state.done or not self.total:
            return None
        return (self.total - state.done) * self.elapsed_s / state.done

    @property
    def p_valid(self) -> float | None:
        """Probability that no limit is broken in the end, see `odds`; None where none is known.

        Both limits are broken by the same busy times: that of the worse one stands for both.
        """
        state = self.state
        if state.lost:
            return 0.0
        if not state.expected:
            return None
        judged = [
            odds.within(self.total, state.allowed, 1000 * (times.at(100) or 0.0) / limit)
            for odds, times, limit in (
                (self._ttft_odds, self.ttft, state.ttft_limit_ms),
                (self._tpot_odds, self.tpot, state.tpot_limit_ms),
            )
            if limit is not None
        ]
        known = [chance for chance in judged if chance is not None]
        return min(known, default=None)

    def on_course(self, over: int) -> int:
        """How many samples are over a limit in the end, if the rest does as those did that are done."""
        return round(over * self.total / self.state.done) if self.state.done else over


@dataclass
class ReplicaSoFar:
    """One replica.

    Attributes:
        state: Its last record.
        answers: The rate of its answers.
    """

    state: ReplicaState
    answers: _Rate = field(default_factory=_Rate)


class RunSoFar:
    """A run, by the records that were taken in.

    Attributes:
        last: The last record; a blank one before the first.
        tests: By name, those that run or ran, in the order of their begin.
        replicas: By name, those of the last record.
        warnings: The last ones: one that is over stands once, with its length.
        said: What the command told people last, with the seconds since it began.
    """

    def __init__(self) -> None:
        self.last = LiveRecord.blank()
        self.tests: dict[str, TestSoFar] = {}
        self.replicas: dict[str, ReplicaSoFar] = {}
        self.warnings: dict[tuple[str, float], LiveWarning] = {}
        self.said: deque[tuple[float, str]] = deque(maxlen=_MOST_LINES)

    def take(self, record: LiveRecord) -> None:
        """Take in the next record."""
        self.last = record
        for test in self.tests.values():
            test.is_running = False
        for state in record.tests:
            self._take_test(state, record.at_s)
        before, self.replicas = self.replicas, {}
        for replica in record.replicas:
            known = before.get(replica.name) or ReplicaSoFar(replica)
            known.state = replica
            known.answers.take(record.at_s, replica.answers)
            self.replicas[replica.name] = known
        for warning in record.warnings:
            self.warnings[warning.text.partition(":")[0], warning.at_s] = warning
        while len(self.warnings) > _MOST_LINES:
            del self.warnings[next(iter(self.warnings))]
        self.said.extend((record.at_s - record.began_at_s, line) for line in record.said)

    def take_all(self, records: Iterable[LiveRecord]) -> None:
        """Take in records in their order."""
        for record in records:
            self.take(record)

    def _take_test(self, state: TestState, at_s: float) -> None:
        known = self.tests.get(state.name)
        if known is None or known.state.began_at_s != state.began_at_s:
            self.tests.pop(state.name, None)
            known = self.tests[state.name] = TestSoFar(state, at_s)
        known.is_running = True
        known.take(state, at_s)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command began."""
        return self.last.at_s - self.last.began_at_s

    @property
    def running(self) -> list[TestSoFar]:
        """The tests that run."""
        return [test for test in self.tests.values() if test.is_running]
