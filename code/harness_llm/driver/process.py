"""The driver process: LoadGen's part in a load that is no MLPerf test, through the same SUT and ledger.

Started as `python -m harness_llm.driver.process SPEC`: warm-up, Armed, Go, the measured rows, PartMeasured,
an unmeasured tail, Finish, Done. What is asked is a file; when it is asked is one of three rules.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.datasets.table import SampleTable
from harness_llm.driver.issuers import Schedule, make_issuer
from harness_llm.errors import ProtocolError
from harness_llm.loadgen.asking import Asking, run_process
from harness_llm.loadgen.ledger import Ledger
from harness_llm.loadgen.links import ReplicaLink
from harness_llm.loadgen.router import PushRouter
from harness_llm.loadgen.sut import Sut
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.transport.spec import DriverSpec, read_spec
from harness_llm.transport.wire import Armed, Finish, Go, Heartbeat, PartMeasured, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_S = 0.02
_LONGEST_SLEEP_NS = NANOSECONDS_PER_SECOND // 5


class _Driver(Asking):
    """The parts of one load; it is its SUT's reporter, too."""

    def __init__(self, spec: DriverSpec) -> None:
        self._spec = spec
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._changed = threading.Condition()
        self._answered = 0
        self._go_ns: int | None = None
        self._is_finishing = False
        super().__init__(spec, on_gate=self._hear_gate, read_s=_READ_S)

    # ---------------------------------------------------------------- what others call

    def report_first_tokens(self, loadgen_ids: Sequence[int], tokens: Sequence[int]) -> None:
        """The ledger has them."""

    def complete_samples(self, loadgen_ids: Sequence[int], answers: Sequence[bytes]) -> None:
        """Wake whoever waits for answers."""
        with self._changed:
            self._answered += len(loadgen_ids)
            self._changed.notify()

    def _hear_gate(self, message: Go | Finish) -> None:
        with self._changed:
            if isinstance(message, Go):
                self._go_ns = message.at_ns or time.monotonic_ns()
            else:
                self._is_finishing = True
            self._changed.notify()

    def _heartbeat(self) -> Heartbeat:
        ledger = self._ledger
        if ledger is None:
            return Heartbeat()
        return Heartbeat(ledger.issued - ledger.finished, answers=ledger.finished, tokens=ledger.tokens)

    # ---------------------------------------------------------------- the load

    def _run(self) -> dict[str, Any]:
        spec, test = self._spec, self._spec.test
        self._ledger = ledger = Ledger(Path(spec.folder) / EVENTS_NPY)
        table, schedule = SampleTable.load(Path(test.samples)), Schedule.load(Path(test.schedule))
        links = [
            ReplicaLink(self._context, number, endpoint, f"{spec.name}-{os.getpid()}", test.silence_timeout_s,
                        keys=spec.keys)
            for number, endpoint in enumerate(spec.replicas)
        ]  # fmt: skip
        for link in links:
            link.open()
        sut = Sut(
            table=table, links=links, router=PushRouter(len(links)), ledger=ledger, reporter=self,
            reports_first_tokens=True, on_fatal=self._fatal,
        )  # fmt: skip
        sut.start()
        warm = schedule.sample[: test.warm_up].tolist()
        asked = Schedule(schedule.at_ns[test.warm_up :], schedule.sample[test.warm_up :])
        if test.warm_up:
            self._warm_up(sut, warm)
        self._control.send(Armed())
        go_ns = self._wait_for_go()
        self._control.send(Stage("measuring"))
        start_ns = time.monotonic_ns()
        measured = self._measure(sut, ledger, asked, go_ns)
        sut.stop()
        for link in links:
            link.close()
        events = ledger.events(0)
        report = _report(events, asked, measured, go_ns, test.warm_up, is_timed=test.rule == "timed")
        report["start_ns"] = start_ns
        del events
        ledger.close()
        return report

    def _wait_for_go(self) -> int:
        with self._changed:
            while self._go_ns is None:
                self._changed.wait(1.0)
        early_ns = self._go_ns - time.monotonic_ns()
        if early_ns < -NANOSECONDS_PER_SECOND // 10:
            raise ProtocolError(f"the start was missed by {-early_ns / 1e6:.0f} ms", "Free the host's cores.")
        if early_ns > 0:
            time.sleep(early_ns / NANOSECONDS_PER_SECOND)
        return self._go_ns

    def _warm_up(self, sut: Sut, samples: list[int]) -> None:
        self._control.send(Stage("warming up"))
        sut.issue(list(range(len(samples))), samples)
        with self._changed:
            while self._answered < len(samples):
                self._changed.wait(1.0)

    def _measure(self, sut: Sut, ledger: Ledger, schedule: Schedule, go_ns: int) -> int:
        """Issue rows until Finish, and wait for their answers; how many of them, the first, are measured."""
        test, issuer = self._spec.test, make_issuer(self._spec.test, schedule)
        issued = answered = 0
        measured: int | None = None
        rows = len(schedule) if test.limit_ns is None else sys.maxsize  # by time it starts over
        has_said = False
        while True:
            with self._changed:
                new, ending = self._answered - test.warm_up - answered, self._is_finishing
            now_ns = time.monotonic_ns() - go_ns
            answered += new
            issuer.answered(new, now_ns)
            is_late = test.limit_ns is not None and now_ns >= test.limit_ns
            if measured is None and (issued >= rows or is_late or ending):
                measured = min(issued, rows)
            if measured is not None and not has_said and answered >= measured:
                has_said = bool((ledger.events(test.warm_up)["finished_ns"][:measured] > 0).all())
                if has_said:
                    self._control.send(PartMeasured())
            if ending and answered >= issued:
                assert measured is not None
                return measured
            goes_on = not ending and (measured is None or test.tail)
            count = issuer.due(now_ns) if goes_on else 0
            if measured is None and not test.tail:  # else the rest of a group is of the tail
                count = min(count, rows - issued)
            if count:
                samples = schedule.sample[np.arange(issued, issued + count) % len(schedule)].tolist()
                first = test.warm_up + issued
                sut.issue(list(range(first, first + count)), samples)
                issued += count
            else:
                self._sleep(issuer.next_ns() if goes_on else None, go_ns, test.warm_up + answered)

    def _sleep(self, until_ns: int | None, go_ns: int, answered: int) -> None:
        left = _LONGEST_SLEEP_NS
        if until_ns is not None:
            left = min(left, until_ns + go_ns - time.monotonic_ns())
        with self._changed:
            if left > 0 and self._answered == answered:
                self._changed.wait(left / NANOSECONDS_PER_SECOND)


def _report(
    events: np.ndarray[Any, np.dtype[np.void]],
    asked: Schedule,
    measured: int,
    go_ns: int,
    warm_up: int,
    *,
    is_timed: bool,
) -> dict[str, Any]:
    rows = events[warm_up : warm_up + measured]
    lag_ns = rows["issued_ns"] - (asked.at_ns[:measured] + go_ns) if is_timed else np.zeros(measured)
    begin, end = (int(rows["issued_ns"][0]), int(rows["finished_ns"].max())) if measured else (go_ns, go_ns)
    return {
        "warm_up": warm_up,
        "measured": measured,
        "tail": len(events) - warm_up - measured,
        "go_ns": go_ns,
        "begin_ns": begin,
        "end_ns": end,
        "seconds": (end - begin) / NANOSECONDS_PER_SECOND,
        "samples": measured,
        "tokens": int(rows["tokens"].sum()),
        "lag_p99_ms": float(np.percentile(lag_ns, 99)) / 1e6 if measured else 0.0,
    }


def main() -> None:
    """Ask what the spec file, the only argument, says."""
    run_process(lambda path: _Driver(read_spec(DriverSpec, path)))


if __name__ == "__main__":
    main()
