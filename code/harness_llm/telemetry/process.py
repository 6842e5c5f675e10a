"""The telemetry process: reads the accelerators 10 times a second, and says once a second what they did.

Started by the supervisor as `python -m harness_llm.telemetry.process SPEC`; a run does without it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

import msgspec
import zmq

from harness_llm.telemetry.meter import Meter
from harness_llm.telemetry.sources import Source, open_source
from harness_llm.transport.control import ControlClient, die_with_parent
from harness_llm.transport.spec import TelemetrySpec, read_spec
from harness_llm.transport.wire import Done, Heartbeat, Sampled

_READ_S = 0.1
_REPORT_S = 1.0


def sample(source: Source, control: ControlClient, stopped: threading.Event) -> None:
    """Read and report until it is told to stop, or there is nothing more to read."""
    meters: dict[int, Meter] = {}
    reported_s = time.monotonic()
    while not stopped.wait(_READ_S):
        readings = source.read()
        for reading in readings:
            meters.setdefault(reading.index, Meter()).take(reading)
        if not readings or time.monotonic() - reported_s >= _REPORT_S:
            reported_s = time.monotonic()
            states = [msgspec.to_builtins(meter.report()) for meter in meters.values()]
            control.send(Sampled(states))
        if not readings:
            return


def main() -> None:
    """Sample for the run whose spec file is the only argument."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(TelemetrySpec, Path(sys.argv[1]))
    stopped = threading.Event()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ControlClient(context, spec.control, spec.name, Heartbeat, stopped.set, keys=spec.keys) as control:
        source = open_source(None if spec.recording is None else Path(spec.recording))
        if source is not None:
            sample(source, control, stopped)
        control.send(Done({"found": source is not None}))
    context.term()


if __name__ == "__main__":
    main()
