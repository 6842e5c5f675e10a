"""What every process that asks engines shares: its words to the supervisor, and an end at once when it fails.

Such a process holds nothing heavy, and its garbage collector is off while it measures.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import zmq

from harness_llm.transport.control import ControlClient, die_with_parent
from harness_llm.transport.wire import Done, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_llm.loadgen.ledger import Ledger
    from harness_llm.transport.spec import DriverSpec, LoadgenSpec

_log = logging.getLogger(__name__)
_SWITCH_INTERVAL_S = 0.0005  # the interpreter's default of 5 ms would be added to first-token latencies
_EXIT_FAILED = 3


class Asking(ABC):
    """The work of such a process, from its first word to its last.

    Args:
        spec: What it is told.
        hears: Further arguments of its ControlClient.
    """

    def __init__(self, spec: LoadgenSpec | DriverSpec, **hears: Any) -> None:
        self._failing = threading.Lock()
        self._ledger: Ledger | None = None
        # A context of its own, so that the last words can be waited for while the other sockets are in use.
        self._control_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control = ControlClient(
            self._control_context,
            spec.control,
            spec.name,
            self._heartbeat,
            on_shutdown=lambda: os._exit(_EXIT_FAILED),
            keys=spec.keys,
            **hears,
        )

    @abstractmethod
    def _run(self) -> dict[str, Any]:
        """Do the work; what it returns is the report of Done."""

    def run(self) -> None:
        """Run it to its end, or end the process."""
        with self._control:
            try:
                report = self._run()
            except BaseException as error:  # noqa: BLE001 - the process's edge: reported, then it ends
                self._fatal(error)
            self._control.send(Done(report))
        self._control_context.term()

    def _heartbeat(self) -> Heartbeat:
        ledger = self._ledger
        return Heartbeat() if ledger is None else Heartbeat(ledger.issued - ledger.finished)

    def _fatal(self, error: BaseException) -> NoReturn:
        self._failing.acquire()  # the first error is the cause; threads that follow wait here for the end
        _log.error("the process cannot continue", exc_info=error)
        self._control.fail(error)
        self._control.__exit__()
        self._control_context.term()
        sys.stderr.flush()
        os._exit(_EXIT_FAILED)


def run_process(make: Callable[[Path], Asking]) -> None:
    """Run the process whose spec file is the only argument.

    Args:
        make: Makes its work of that file.
    """
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    asking = make(Path(sys.argv[1]))
    gc.collect()
    gc.freeze()
    gc.disable()
    asking.run()
