"""The host says no, and runs that meet or continue one another."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

from fault_kinds.fault import Fault, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "The host says no"
_RESUME = "A run is continued"


def port_in_use(offset: int) -> Callable[[Rig], Seen]:
    """Somebody listens on the port of the control plane, or of a replica."""

    def provoke(rig: Rig) -> Seen:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            rig.harness |= {"interface": "127.0.0.1", "port": holder.getsockname()[1] - offset}
            return rig.run()

    return provoke


def environment(**variables: str) -> Callable[[Rig], Seen]:
    def provoke(rig: Rig) -> Seen:
        rig.environment |= variables
        return rig.run()

    return provoke


def output_is(kind: str) -> Callable[[Rig], Seen]:
    def provoke(rig: Rig) -> Seen:
        if kind == "a file":
            rig.output.write_text("x")
        elif kind == "a foreign folder":
            rig.output.mkdir()
            (rig.output / "mine.txt").write_text("x")
        else:
            rig.output.symlink_to(rig.output)
        return rig.run()

    return provoke


def in_use(rig: Rig) -> Seen:
    """A second run in the folder of one that runs."""
    rig.running()
    first, written = rig.process, rig._output
    (rig.folder / "written.txt").rename(rig.folder / "first.txt")
    try:
        return rig.run("Server", "--resume")
    finally:
        second, rig.process = rig.process, first
        assert second is not None and first is not None
        rig.signal(signal.SIGTERM)
        first.wait(20)
        written.close()


def continued(change: Callable[[Rig], None]) -> Callable[[Rig], Seen]:
    """A run that was interrupted is continued after something changed."""

    def provoke(rig: Rig) -> Seen:
        rig.running()
        rig.finish(rig.signal(signal.SIGINT))
        change(rig)
        since = time.monotonic()
        rig.start(rig.run_arguments("Server", "--resume"))
        return rig.finish(since)

    return provoke


def _conf(rig: Rig) -> None:
    rig.conf += "# changed\n"


def finished(rig: Rig) -> Seen:
    assert rig.run().code == 0
    return rig.run("Offline", "--resume")


def _other(what: str, change: Callable[[Rig], None], *says: str, in_ci: bool = False) -> Fault:
    return Fault(
        _RESUME,
        what,
        continued(change),
        2,
        ("the run in it is another one", *says),
        state="interrupted",
        in_ci=in_ci,
    )


FAULTS = (
    Fault(
        _AREA,
        "the port of the control plane is in use",
        port_in_use(0),
        3,
        ("in use", "harness_config.port"),
        state="broken",
    ),
    Fault(
        _AREA,
        "the port of a replica is in use",
        port_in_use(1),
        3,
        ("in use", "harness_config.port"),
        state="broken",
    ),
    Fault(
        _AREA,
        "the interface is another host's",
        lambda rig: (rig.harness.update(interface="192.0.2.1"), rig.run())[1],
        3,
        ("cannot listen on tcp://192.0.2.1", "harness_config.interface"),
        state="broken",
    ),
    Fault(
        _AREA,
        "TMPDIR is too long for a socket",
        lambda rig: _long_tmpdir(rig),
        3,
        ("TMPDIR",),
        state="broken",
    ),
    Fault(
        _AREA,
        "TMPDIR does not exist",
        environment(TMPDIR="/nowhere"),
        0,
        ("VALID",),
        within_s=30,
        state="complete",
    ),
    Fault(_AREA, "the output is a file", output_is("a file"), 2, ("not a folder",)),
    Fault(
        _AREA,
        "the output is a folder of somebody else's",
        output_is("a foreign folder"),
        2,
        ("no run folder",),
    ),
    Fault(_AREA, "the output is a link to itself", output_is("a loop"), 2, ("not a folder",)),
    Fault(
        _AREA,
        "another run uses the folder",
        in_use,
        2,
        ("another run is using this folder",),
        state="interrupted",
    ),
    _other("user.conf changed", _conf, "user.conf: was", in_ci=True),
    _other(
        "a setting changed",
        lambda rig: rig.harness.update(max_tokens=63),
        "harness_config.max_tokens (Server): was 64, is 63",
    ),
    _other(
        "the data set changed",
        lambda rig: rig.harness.update(dataset={"kind": "synthetic", "shape": "120:20-60:2-39"}),
        "the data set: was",
    ),
    _other(
        "the engine changed",
        lambda rig: rig.harness.update(engine={"kind": "simulated", "per_token_ms": 2}),
        "harness_config.engine.per_token_ms (Server)",
    ),
    _other(
        "a variable that engines read changed",
        lambda rig: rig.environment.update(OMP_NUM_THREADS="3"),
        "variable OMP_NUM_THREADS: was not there, is 3",
    ),
    Fault(_RESUME, "the run is finished", finished, 2, ("holds a finished run",), state="complete"),
)


def _long_tmpdir(rig: Rig) -> Seen:
    place = rig.temporary / ("x" * 120)
    place.mkdir()
    rig.environment["TMPDIR"] = str(place)
    return rig.run()
