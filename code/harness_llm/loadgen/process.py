"""The loadgen process: one LoadGen test, and nothing heavy beside it.

Started by the supervisor as `python -m harness_llm.loadgen.process SPEC`. It ends with exit code 0 after
`Done`, or 3 after `Failed`; LoadGen cannot be told to stop, so a failure ends the process at once.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ProtocolError
from harness_llm.loadgen import lib
from harness_llm.loadgen.asking import Asking, run_process
from harness_llm.loadgen.clock import ClockWatch
from harness_llm.loadgen.late import LateWatch, ServerPlan
from harness_llm.loadgen.ledger import Ledger
from harness_llm.loadgen.links import ReplicaLink
from harness_llm.loadgen.router import PullRouter, PushRouter
from harness_llm.loadgen.sut import Sut
from harness_llm.results.observed import told_steps
from harness_llm.results.paths import AUDIT_CONF, EVENTS_NPY, USER_CONF
from harness_llm.transport.spec import LoadgenSpec, read_spec
from harness_llm.transport.wire import Progress, ReplicaFailed, ReplicaGone, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness_llm.errors import HarnessError
    from harness_llm.loadgen.router import Router


_log = logging.getLogger(__name__)
_PROGRESS_S = 0.5


class _Test(Asking):
    """The parts of one test, from open sessions to the last report."""

    def __init__(self, spec: LoadgenSpec) -> None:
        self._spec = spec
        self._folder = Path(spec.folder)
        self._gone: dict[int, str] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clocks = ClockWatch()
        super().__init__(spec, on_replica_gone=self._note_gone)

    def _run(self) -> dict[str, Any]:
        spec, test = self._spec, self._spec.test
        self._ledger = ledger = Ledger(self._folder / EVENTS_NPY)
        table = SampleTable.load(Path(test.samples))
        user_conf = self._write(USER_CONF, test.user_conf)
        audit_conf = None if test.audit_conf is None else self._write(AUDIT_CONF, test.audit_conf)
        settings = lib.make_settings(test.loadgen_model, test.scenario, test.mode, user_conf)
        fields = lib.settings_fields(settings)
        session = f"{spec.name}-{os.getpid()}"
        links = [
            ReplicaLink(self._context, index, endpoint, session, test.silence_timeout_s, keys=spec.keys)
            for index, endpoint in enumerate(spec.replicas)
        ]
        for link in links:
            link.open(lambda index=link.index: index in self._gone)  # type: ignore[misc]
        sut = Sut(
            table=table,
            links=links,
            router=self._router(links),
            ledger=ledger,
            reporter=lib,
            reports_first_tokens=test.scenario.is_timed_per_token,
            on_fatal=self._fatal,
            on_lost=self._go_on_without if test.on_replica_failure == "redispatch" else None,
            gone=self._gone,
            limits=self._limits(fields, len(table)),
        )
        sut.start()
        self._control.send(Stage("LoadGen runs"))
        stop_progress = self._report_progress(sut, ledger)
        self._clocks = ClockWatch()
        started = time.monotonic()
        lib.run_test(
            settings,
            sample_count=len(table),
            issue=sut.issue,
            flush=sut.flush,
            output_folder=self._folder,
            audit_conf=audit_conf,
        )
        seconds = time.monotonic() - started
        stop_progress()
        sut.stop()
        lost = {failure.replica for failure in sut.survived}
        for link in links:
            if link.index not in lost:
                link.close()
        self._send_progress(sut, ledger, "")
        ledger.close()
        if ledger.finished != ledger.issued:
            raise ProtocolError(f"LoadGen ended with {ledger.finished} of {ledger.issued} queries complete")
        return {
            "seconds": seconds,
            "samples": ledger.finished,
            "tokens": ledger.tokens,
            "requested_settings": fields,
            "loadgen_version": lib.version(),
            "peak_rss_bytes": _peak_rss_bytes(),
            "survived": [msgspec.to_builtins(failure) for failure in sut.survived],
            "clock_steps_s": self._clocks.steps_s,
            "answers": [asdict(seen) for seen in sut.answers.seen],
        }

    def _note_gone(self, message: ReplicaGone) -> None:
        self._gone.setdefault(message.replica, message.reason)

    def _go_on_without(self, replica: int, error: HarnessError) -> None:
        _log.warning("goes on without replica %d: %s", replica, error.message)
        self._control.send(ReplicaFailed(replica, type(error).__name__, error.message, error.remedy))

    def _limits(self, settings: Mapping[str, Any], samples: int) -> LateWatch | None:
        test = self._spec.test
        if not test.early_end or test.mode is not Mode.PERFORMANCE or test.audit_conf is not None:
            return None
        plan = ServerPlan.of(settings, samples) if test.scenario.is_timed_per_token else None
        return None if plan is None else LateWatch(plan)

    def _router(self, links: list[ReplicaLink]) -> Router:
        if self._spec.test.scenario is not Scenario.OFFLINE:
            return PushRouter(len(links))
        backlog = self._spec.test.offline_backlog
        return PullRouter(
            # one that was gone before it could say how much it takes gets one query, and gives it back
            [
                (link.max_concurrent or 1) + (link.max_concurrent if backlog is None else backlog)
                for link in links
            ]
        )

    def _write(self, name: str, text: str) -> Path:
        """A file beside LoadGen's logs, as it was given, line ends included."""
        path = self._folder / name
        path.write_bytes(text.encode())
        return path

    def _send_progress(self, sut: Sut, ledger: Ledger, lost: str) -> None:
        self._clocks.compare()
        ttft, tpot = sut.take_latencies()
        self._control.send(Progress(ledger.issued, ledger.finished, ledger.tokens, ttft, tpot, lost))

    def _lost(self, sut: Sut) -> str:
        """Why the test is better ended now; empty where it is not."""
        if not self._spec.test.early_end:
            return ""
        late = sut.lost()
        self._clocks.compare()  # after that: a step of the clock makes samples late, and is what to name
        steps = self._clocks.steps_s if self._spec.test.mode is Mode.PERFORMANCE else []
        return told_steps(steps) or late

    def _report_progress(self, sut: Sut, ledger: Ledger) -> Callable[[], None]:
        stopped = threading.Event()

        def loop() -> None:
            while not stopped.wait(_PROGRESS_S):
                self._send_progress(sut, ledger, self._lost(sut))

        thread = threading.Thread(target=loop, name="progress", daemon=True)
        thread.start()

        def stop() -> None:
            stopped.set()
            thread.join()

        return stop


def _peak_rss_bytes() -> int | None:
    """Most memory that this process held at once; None where the kernel does not say.

    Not `ru_maxrss`: that one also counts the parent's memory from before exec.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def main() -> None:
    """Run the test whose spec file is the only argument."""
    run_process(lambda path: _Test(read_spec(LoadgenSpec, path)))


if __name__ == "__main__":
    main()
