"""A process of a run dies, stops or answers wrongly."""

from __future__ import annotations

import functools
import signal
import time
from typing import TYPE_CHECKING

from fault_kinds.fault import Fault, Seen
from fault_kinds.rig import LOADGEN, REPLICA

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "A process of a run dies, stops or answers wrongly"


def struck(victim: str, number: signal.Signals, replicas: int = 1) -> Callable[[Rig], Seen]:
    """A signal to a replica or to the loadgen process."""

    def provoke(rig: Rig) -> Seen:
        rig.running(replicas)
        since = time.monotonic()
        rig.processes(victim)[0].send_signal(number)
        return rig.finish(since)

    return provoke


def with_engine(scenario: str = "Offline", **options: object) -> Callable[[Rig], Seen]:
    """A run whose simulated engine has options; keys of harness_config after an underscore."""

    def provoke(rig: Rig) -> Seen:
        rig.harness |= {key[1:]: value for key, value in options.items() if key.startswith("_")}
        rig.harness["engine"] = {
            "kind": "simulated", "first_token_ms": 20, "per_token_ms": 1, "concurrent": 8,
            **{key: value for key, value in options.items() if not key.startswith("_")},
        }  # fmt: skip
        return rig.run(scenario)

    return provoke


def suspended(seconds: float, *, all_of_them: bool) -> Callable[[Rig], Seen]:
    """The command alone, or every process of it, is stopped for a while, as by Ctrl-Z or a paused machine."""

    def provoke(rig: Rig) -> Seen:
        rig.conf = rig.conf.replace("120000", "4000").replace("count = 500", "count = 100")
        rig.conf = rig.conf.replace("ttft_latency = 1000", "ttft_latency = 60000")
        rig.conf = rig.conf.replace("tpot_latency = 100", "tpot_latency = 60000")
        rig.running()
        assert rig.process is not None
        victims = rig.processes() if all_of_them else [p for p in rig.processes() if p.pid == rig.process.pid]
        for process in victims:
            process.suspend()
        time.sleep(seconds)
        for process in victims:
            process.resume()
        return rig.finish()

    return provoke


_broken = functools.partial(Fault, _AREA, code=3, state="broken")

FAULTS = (
    _broken(
        "a replica is killed (SIGKILL)",
        struck(REPLICA, signal.SIGKILL, 2),
        says=("was killed by SIGKILL",),
        in_ci=True,
    ),
    _broken(
        "a replica is ended (SIGTERM)", struck(REPLICA, signal.SIGTERM, 2), says=("ended with exit code 0",)
    ),
    _broken(
        "a replica dies of a fault (SIGSEGV)",
        struck(REPLICA, signal.SIGSEGV),
        says=("was killed by SIGSEGV",),
    ),
    _broken(
        "a replica is stopped (SIGSTOP)", struck(REPLICA, signal.SIGSTOP), says=("replica-0",), in_ci=True
    ),
    _broken(
        "the loadgen process is killed",
        struck(LOADGEN, signal.SIGKILL),
        says=("loadgen", "was killed by SIGKILL"),
    ),
    _broken(
        "the loadgen process is stopped",
        struck(LOADGEN, signal.SIGSTOP),
        says=("loadgen-Server/performance",),
    ),
    _broken(
        "the engine fails a sample",
        with_engine("Server", fail_every=60),
        says=("the engine failed on sample", "simulated failure of request 60"),
        within_s=30,
    ),
    Fault(
        _AREA,
        "the command is suspended for 6 s (Ctrl-Z, fg), its children run on",
        suspended(6, all_of_them=False),
        0,
        ("VALID",),
        within_s=30,
        state="complete",
    ),
    Fault(
        _AREA,
        "everything is suspended for 6 s (a paused machine), latencies allowed",
        suspended(6, all_of_them=True),
        0,
        ("VALID",),
        within_s=30,
        state="complete",
    ),
)
