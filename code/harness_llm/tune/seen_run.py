"""What was seen of a run, whole or given up: when each query was due, started and ended, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness_llm.core import EventStatus, Mode
from harness_llm.errors import FolderError
from harness_llm.results.events import sound_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.recompute import due_ns
from harness_llm.results.run_folder import TestFolder

_TIMES = ("issued_ns", "first_token_ns", "finished_ns")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observed:
    """Queries in the order of issue; times are seconds since the test began, inf for what came after `until`.

    Attributes:
        due: When each was due.
        first: When its first token came.
        finish: When its last token came.
        replica: Who answered.
        sample: Which sample it asked.
        prompt: Prompt tokens.
        tokens: Answer tokens; of unfinished queries, unknown.
        until: How long it was observed, s.
        batches: Times of the engine's outputs with the first and with the last token, ns by the replica's
            clock, a row a query; equal ones are of the same step. None where they are not known.
    """

    due: Floats
    first: Floats
    finish: Floats
    replica: Integers
    sample: Integers
    prompt: Integers
    tokens: Integers
    until: float
    batches: Integers | None = None

    @classmethod
    def of_events(cls, events: npt.NDArray[Any], due_ns: Integers, until_ns: int | None = None) -> Self:
        """By the rows of an event file.

        Args:
            events: Its rows.
            due_ns: When each query was due, on the clock of the events.
            until_ns: When they were read, on that clock; None for the last thing that happened.
        """
        start = int(due_ns[0]) if len(due_ns) else 0

        def seconds(name: str, happened: npt.NDArray[np.bool_]) -> Floats:
            return np.where(happened, (events[name] - start) / 1e9, np.inf)

        done = events["status"] == EventStatus.FINISHED
        last = max((int(events[name].max(initial=start)) for name in _TIMES), default=start)
        return cls(
            (due_ns - start) / 1e9,
            seconds("first_token_ns", events["first_token_ns"] > 0),
            seconds("finished_ns", done),
            events["replica"].astype(np.int64),
            events["sample"].astype(np.int64),
            events["prompt_tokens"].astype(np.int64),
            events["tokens"].astype(np.int64),
            ((until_ns or last) - start) / 1e9,
            _batches(events),
        )

    @classmethod
    def of_test(cls, folder: Path, seed: int | None = None) -> Self:
        """By the folder of a Server or Interactive test, whole or given up.

        Args:
            folder: `<run>/<Scenario>/<test>`.
            seed: LoadGen's `schedule_rng_seed`, where the folder does not say it.

        Raises:
            FolderError: It holds no such test.
        """
        record = TestFolder(folder).record()
        events, problem = sound_events(folder / EVENTS_NPY)
        if events is None:
            raise FolderError(f"{folder / EVENTS_NPY}: {problem}", "Give another run.")
        if not len(events) or not record.scenario.is_timed_per_token:
            raise FolderError(f"{folder}: no events of a Server or Interactive test", "Give another run.")
        seed = (record.requested_settings or {}).get("schedule_rng_seed", seed)
        if record.mode is Mode.ACCURACY or seed is None:
            return cls.of_events(events, events["issued_ns"].astype(np.int64))
        return cls.of_events(events, due_ns(events, int(seed), record.target_qps))

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Which had finished."""
        return np.isfinite(self.finish)

    @property
    def ttft(self) -> Floats:
        """From the time a query was due to its first token."""
        return self.first - self.due

    @property
    def tpot(self) -> Floats:
        """Time for each token after the first."""
        with np.errstate(invalid="ignore"):
            spent = self.finish - self.first
        found: Floats = np.where(self.done, spent, np.inf) / np.maximum(self.tokens - 1, 1)
        return found

    def by(self, until: float) -> Observed:
        """What had been seen at a time."""
        kept = self.due <= until
        first, finish = self.first[kept], self.finish[kept]
        return Observed(
            self.due[kept],
            np.where(first <= until, first, np.inf),
            np.where(finish <= until, finish, np.inf),
            self.replica[kept],
            self.sample[kept],
            self.prompt[kept],
            self.tokens[kept],
            until,
            None if self.batches is None else self.batches[kept],
        )

    def of(self, replica: int) -> Observed:
        """What one replica did."""
        mine = self.replica == replica
        return Observed(
            self.due[mine],
            self.first[mine],
            self.finish[mine],
            self.replica[mine],
            self.sample[mine],
            self.prompt[mine],
            self.tokens[mine],
            self.until,
            None if self.batches is None else self.batches[mine],
        )

    @property
    def parts(self) -> list[Observed]:
        """By replica, those that did enough to learn from."""
        return [part for part in map(self.of, np.unique(self.replica)) if part.done.sum() >= LEAST_DONE]


def _batches(events: npt.NDArray[Any]) -> Integers | None:
    first, last = (events[f"{which}_batch_ns"].astype(np.int64) for which in ("first", "last"))
    started, done = events["first_token_ns"] > 0, events["status"] == EventStatus.FINISHED
    return np.stack((first, last), axis=1) if first[started].all() and last[done].all() else None


LEAST_DONE = 20
"""Finished queries of a replica from which its step times can be learned."""
