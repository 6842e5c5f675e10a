"""The guard: a process that restores the cards' power caps however the study ends, kill -9 included.

Started as `python -m harness_llm.power.guard SPEC`, in a process group of its own, before anything is set.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import msgspec
import zmq

from harness_llm.errors import HostError
from harness_llm.launch.role import Role
from harness_llm.power.caps import NvmlCaps
from harness_llm.transport.control import PARENT_VARIABLE, ControlClient
from harness_llm.transport.keys import Keys
from harness_llm.transport.spec import read_spec
from harness_llm.transport.wire import Done, Heartbeat, Stage

ROLE = Role("guard", "harness_llm.power.guard", started="word", silence_s=15.0, grace_s=20.0)
_LOOK_S = 0.2


class GuardSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the guard is told.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        before: By card, the cap to give back, milliwatts.
        marker: File that exists while caps may differ from the original ones; removed once they are restored.
        keys: What it shows the supervisor; None on Unix sockets.
    """

    name: str
    control: str
    before: dict[int, int]
    marker: str
    keys: Keys | None = None


def main() -> None:
    """Wait for the end of whoever started it, or to be told; then restore."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(GuardSpec, Path(sys.argv[1]))
    over, signalled = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        signalled.set()
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    import pynvml

    caps = NvmlCaps(pynvml, set_caps=True, before=spec.before)  # its first word says that it can restore
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ControlClient(context, spec.control, spec.name, Heartbeat, over.set, keys=spec.keys) as control:
        control.send(Stage("guarding power caps"))
        while not over.wait(_LOOK_S) and os.getppid() == parent:
            pass
        caps.restore()
        Path(spec.marker).unlink(missing_ok=True)
        if signalled.is_set() and os.getppid() == parent:  # the study must not go on unguarded
            control.fail(HostError("the guard of the power caps was ended by a signal"))
        else:
            control.send(Done({}))
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
