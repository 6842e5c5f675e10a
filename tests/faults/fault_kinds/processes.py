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


def struck_at_start(victim: str, number: signal.Signals) -> Callable[[Rig], Seen]:
    """A signal to a process as soon as it is there."""

    def provoke(rig: Rig) -> Seen:
        rig.start(rig.run_arguments("Server"))
        rig.wait_until(lambda: bool(rig.processes(victim)))
        since = time.monotonic()
        rig.processes(victim)[0].send_signal(number)
        return rig.finish(since)

    return provoke


def survived(number: signal.Signals) -> Callable[[Rig], Seen]:
    """A signal to one of two replicas in the accuracy test, where the other takes over."""

    def provoke(rig: Rig) -> Seen:
        rig.harness |= {"replicas": 2, "dataset": {"kind": "synthetic", "shape": "3000:20-60:2-40"}}
        given = rig.run_arguments("Offline")
        rig.start(["accuracy" if part == "performance" else part for part in given])
        rig.wait_until(lambda: rig.is_answered("Offline/accuracy"))
        rig.processes(REPLICA)[0].send_signal(number)
        made = rig.finish()
        checked = rig.verb("check", str(rig.output))
        return Seen(made.code, made.text + checked.text, made.seconds)

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


def hung_and_late(rig: Rig) -> Seen:
    """An engine that hangs, where a sample is late after 3 s, long before a stall is certain."""
    rig.conf = rig.conf.replace("ttft_latency = 1000", "ttft_latency = 3000")
    return with_engine("Server", hang_after=100, _stall_timeout_s=20)(rig)


def flooded(rig: Rig) -> Seen:
    """A rate of a hundred times what the engine holds: thousands of requests are on their way at the end."""
    rig.conf = rig.conf.replace("Server.target_qps = 100", "Server.target_qps = 20000")
    return with_engine("Server", first_token_ms=1, per_token_ms=0.1, concurrent=4, _replicas=2)(rig)


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
    _broken(
        "a replica is stopped while it loads (SIGSTOP)",
        struck_at_start(REPLICA, signal.SIGSTOP),
        says=("Server/replica-0",),
        within_s=75,
    ),
    _broken(
        "a replica is killed while it loads (SIGKILL)",
        struck_at_start(REPLICA, signal.SIGKILL),
        says=("was killed by SIGKILL",),
    ),
    _broken(
        "the loadgen process is stopped while it starts",
        struck_at_start(LOADGEN, signal.SIGSTOP),
        says=("loadgen-Server/performance",),
        within_s=75,
    ),
    _broken(
        "one of two engines hangs, stall_timeout_s 4",
        with_engine("Server", hang_after=100, hang_replica=0, _replicas=2, _stall_timeout_s=4),
        says=("Server/replica-0 has generated nothing for", "(4 s are allowed)"),
        within_s=30,
    ),
    Fault(
        _AREA,
        "the only engine hangs, and too many samples are late before its stall is certain",
        hung_and_late,
        1,
        ("are over the TTFT limit", "Server/replica-0 has generated nothing for"),
        within_s=30,
        state="abandoned",
    ),
    Fault(
        _AREA,
        "the rate is a hundred times what the engines hold",
        flooded,
        1,
        ("are over the TTFT limit",),
        within_s=30,
        state="abandoned",
    ),
    *(
        Fault(
            _AREA,
            f"one of two replicas is {done} in the accuracy test",
            survived(number),
            0,
            ("survived 1 failure",),
            within_s=60,
            state="complete",
        )
        for done, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))
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
