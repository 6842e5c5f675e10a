"""The disk of the run folder is full, read-only or taken away, at each stage of a run."""

from __future__ import annotations

import functools
import shutil
import time
from typing import TYPE_CHECKING

from fault_kinds.fault import Fault, Seen
from fault_kinds.rig import REPLICA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_kinds.rig import Rig

_AREA = "The disk of the run folder"


def from_the_start(*options: str) -> Callable[[Rig], Seen]:
    """A disk that takes nothing, or too little."""

    def provoke(rig: Rig) -> Seen:
        rig.disk(*options)
        return rig.run()

    return provoke


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 20)) or True:
                pass
        except OSError:
            return


def while_it_loads(harm: Callable[[Path], object]) -> Callable[[Rig], Seen]:
    """As soon as a replica is there."""

    def provoke(rig: Rig) -> Seen:
        disk = rig.disk("size=100m")
        rig.start(rig.run_arguments("Server"))
        rig.wait_until(lambda: bool(rig.processes(REPLICA)))
        since = time.monotonic()
        harm(disk)
        return rig.finish(since)

    return provoke


def while_it_runs(harm: Callable[[Path], object], test: str = "performance") -> Callable[[Rig], Seen]:
    """When some queries are answered."""

    def provoke(rig: Rig) -> Seen:
        disk = rig.disk("size=100m")
        if test == "accuracy":
            rig.harness["dataset"] = {"kind": "synthetic", "shape": "9000:20-60:2-40"}
        rig.start([test if part == "performance" else part for part in rig.run_arguments("Server")])
        rig.wait_until(lambda: rig.is_answered(f"Server/{test}"))
        since = time.monotonic()
        harm(disk)
        return rig.finish(since)

    return provoke


_broken = functools.partial(Fault, _AREA, code=3, within_s=15)
_FULL = ("the disk is full", "Free disk space")

FAULTS = (
    _broken(
        "it is full before the run",
        from_the_start("size=4k"),
        says=("MiB are free, the results may need", "Free disk space"),
    ),
    _broken(
        "it has no inode left",
        from_the_start("size=100m,nr_inodes=4"),
        says=("No space left",),
        state="running",
    ),
    _broken("it is mounted read-only", from_the_start("size=100m,ro"), says=("Read-only file system",)),
    _broken("it fills while engines load", while_it_loads(_fill), says=("No space left",), state="broken"),
    _broken("it fills while LoadGen asks", while_it_runs(_fill), says=_FULL, state="broken"),
    _broken("it fills in the accuracy test", while_it_runs(_fill, "accuracy"), says=_FULL, state="broken"),
    _broken(
        "the run folder is deleted while LoadGen asks",
        while_it_runs(lambda disk: shutil.rmtree(disk / "run")),
        says=("was deleted, renamed or replaced",),
    ),
    _broken(
        "the test's folder is renamed",
        while_it_runs(lambda disk: (disk / "run/Server/performance").rename(disk / "run/Server/x")),
        says=("was deleted, renamed or replaced",),
        state="broken",
    ),
)
