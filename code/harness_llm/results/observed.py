"""What a run observed beside its figures, as parts of run.json and test.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from harness_llm.core import counted
from harness_llm.results.record_base import Record

_LEAST_STEP_S = 0.01


class PreflightRecord(Record, frozen=True, kw_only=True):
    """What was asked of the replicas of one group before the first test on them.

    Attributes:
        replicas: How many replicas were asked.
        samples: The samples that each was asked, by their indices.
        tokens: Tokens of all answers.
        seconds: How long it took.
        differ_in_a_batch: By replica, samples with another answer in a batch than alone.
    """

    replicas: int
    samples: tuple[int, ...]
    tokens: int
    seconds: float
    differ_in_a_batch: tuple[int, ...]


class RateRecord(Record, frozen=True, kw_only=True):
    """The rate of a scenario's tests, where it was measured and not chosen.

    Attributes:
        target_qps: What its tests are asked at, samples per second.
        share: Of `held_samples_per_s`.
        held_samples_per_s: What a closed loop held right before.
        held_tokens_per_s: The same in output tokens.
        samples: Samples of the loop.
        seconds: From its first question to its last answer.
        tries: At how many rates the performance test was asked, with this one.
        others: What others held of the host meanwhile, as a sentence; empty where it does not matter.
    """

    target_qps: float
    share: float
    held_samples_per_s: float
    held_tokens_per_s: float
    samples: int
    seconds: float
    tries: int = 1
    others: str = ""

    @classmethod
    def blank(cls) -> Self:
        """A rate of nothing."""
        return cls(
            target_qps=0.0, share=0.0, held_samples_per_s=0.0, held_tokens_per_s=0.0, samples=0, seconds=0.0
        )

    def __str__(self) -> str:
        return (
            f"this machine held {self.held_samples_per_s:.3g} samples/s, {self.held_tokens_per_s:.3g} "
            f"tokens/s, in a closed loop of {counted(self.samples, 'sample')}"
            f"{', while ' * bool(self.others)}{self.others}; target_qps = {self.target_qps:g} is "
            f"{self.share:.0%} of it"
        )


class SurvivedFailure(Record, frozen=True, kw_only=True):
    """A replica that was lost while a test ran, and that the test went on without.

    Attributes:
        replica: Its number.
        reason: What happened.
        redispatched: Its unfinished samples, which the others answered.
        changed_first_tokens: Samples whose first token was reported before the loss and whose whole answer
            begins with another one.
    """

    replica: int
    reason: str
    redispatched: int
    changed_first_tokens: int = 0

    @classmethod
    def blank(cls) -> Self:
        """A failure of which nothing can be read."""
        return cls(replica=-1, reason="unknown", redispatched=-1)


class LossRecord(Record, frozen=True, kw_only=True):
    """A child process that was lost and that the run went on without.

    Attributes:
        name: Its name.
        kind: What it was: `replica`, `sampler`.
        reason: What happened.
    """

    name: str
    kind: str
    reason: str

    @classmethod
    def blank(cls) -> Self:
        """A loss of which nothing can be read."""
        return cls(name="unknown", kind="unknown", reason="unknown")


class AnswerRecord(Record, frozen=True, kw_only=True):
    """What was seen of one replica's answers in one test.

    Attributes:
        answers: How many.
        one_token_id: Those that repeat a single token id.
        other_first_token: Those that begin with another token than was reported first.
        odd_length: Those that are no whole tokens.
        no_token: Those with token ids that no vocabulary has.
        are_alike: Whether all are the same.
    """

    answers: int
    one_token_id: int
    other_first_token: int
    odd_length: int
    no_token: int = 0
    are_alike: bool


class BusyPeriod(Record, frozen=True, kw_only=True):
    """A time in which processes of others held cores of the host.

    Attributes:
        from_s: Its start, seconds since the test began.
        to_s: Its end.
        cores: What they held, mean.
    """

    from_s: float
    to_s: float
    cores: float

    def __str__(self) -> str:
        return f"{self.cores:.1f} cores from {_clock(self.from_s)} to {_clock(self.to_s)}"


class OthersRecord(Record, frozen=True, kw_only=True):
    """What processes that are none of the run's held of the host during a test.

    Attributes:
        cores: Cores that the run may use.
        mean: Cores that others held, mean of the test.
        periods: When they held enough to matter.
    """

    cores: int = 0
    mean: float = 0.0
    periods: tuple[BusyPeriod, ...] = ()

    @property
    def told(self) -> str:
        """A sentence for people; empty where they held nothing that matters."""
        if not self.periods:
            return ""
        most = sorted(self.periods, key=lambda period: (period.from_s - period.to_s) * period.cores)[:3]
        parts = [str(period) for period in sorted(most, key=lambda period: period.from_s)]
        first = parts[0].replace(" cores", f" of {counted(self.cores, 'core')}", 1)
        more = len(self.periods) - len(parts)
        return f"others used {', '.join([first, *parts[1:]])}" + (
            f", and {counted(more, 'more time')}" if more else ""
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def told_steps(steps_s: Sequence[float]) -> str:
    """What steps of the system clock do to a test; empty where they are too small to matter."""
    if sum(map(abs, steps_s)) < _LEAST_STEP_S:
        return ""
    times = "" if len(steps_s) == 1 else f" in {len(steps_s)} steps"
    return (
        f"the system clock, by which LoadGen measures, was set by {sum(steps_s):+.3f} s{times} during the "
        "test; keep it from being set while a test runs"
    )
