"""The records of live.jsonl: what is known of a run, once a second while it runs; see docs/live-stream.md.

Every time that ends in `_at_s` is of this host's monotonic clock, as the times in events.npy are.
"""

from __future__ import annotations

from typing import Literal, Self

from harness_llm.results.record_base import Record

WarningKind = Literal["pause", "compile", "host", "throttle", "loss"]

LIVE_VERSION = 1
"""Of live.jsonl: it grows where a key changes its meaning or goes, not where one comes."""


class TestState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One test that runs. Counts are totals; histograms are of what came since its last record.

    Attributes:
        name: E.g. `Server/performance`.
        began_at_s: When it began; a test that is run again has another.
        stage: What its process does.
        is_timed: Whether LoadGen sends its samples at a rate, and judges latencies.
        target_qps: That rate, samples per second.
        expected: Samples expected in all; None where it cannot be known.
        issued: Samples that LoadGen has asked for.
        done: Samples complete.
        tokens: Output tokens of complete samples.
        ttft: Times to first token: samples by bin, as `latency_bins.binned` counts them.
        tpot: Times for each further token, likewise.
        ttft_limit_ms: p99 limit; None where the verdict on the test does not judge it.
        tpot_limit_ms: p99 limit; None where the verdict on the test does not judge it.
        ttft_over: Samples over the limit, by the harness's own clock.
        tpot_over: Samples over the limit.
        allowed: Samples that may be over a limit, of all that the test will have.
        changed_at_s: When anything was last issued, begun or finished.
        lost: Why it cannot be VALID any more; empty while it can.
    """

    __test__ = False  # no pytest class

    name: str
    began_at_s: float
    stage: str = ""
    is_timed: bool = False
    target_qps: float = 0.0
    expected: int | None = None
    issued: int = 0
    done: int = 0
    tokens: int = 0
    ttft: dict[int, int] = {}
    tpot: dict[int, int] = {}
    ttft_limit_ms: float | None = None
    tpot_limit_ms: float | None = None
    ttft_over: int = 0
    tpot_over: int = 0
    allowed: int = 0
    changed_at_s: float = 0.0
    lost: str = ""


class ReplicaState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One replica.

    Attributes:
        name: Its name, e.g. `Server/replica-0`.
        stage: What it does: its own word while it loads, then `ready`, or `lost`.
        in_flight: Requests that are unfinished in it.
        capacity: Requests that its engine works on at once; None before it said so.
        answers: Answers since it started.
        tokens: Output tokens of those answers.
        generated: What its engine says of its progress; None where it cannot say. See `Heartbeat`.
        still_s: For how long it has generated nothing though it has work, seconds.
        devices: Indices of the devices that it alone uses, as `DeviceState` has them; empty where unknown.
        kv_cache: Share of its KV cache in use, 0..1; None where its engine does not say.
        metrics: Its engine's own metrics, by their own names.
    """

    name: str
    stage: str = ""
    in_flight: int = 0
    capacity: int | None = None
    answers: int = 0
    tokens: int = 0
    generated: int | None = None
    still_s: float = 0.0
    devices: tuple[int, ...] = ()
    kv_cache: float | None = None
    metrics: dict[str, float] = {}


class HostState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """This host.

    Attributes:
        cores: Cores that the run may use.
        own_cores: Cores that its processes use now; None where nobody looked yet.
        other_cores: Cores that processes of others use now, of these.
        memory_bytes: Memory in all.
        memory_free_bytes: Memory that is available.
        disk_free_bytes: Free where the results go.
    """

    cores: int = 0
    own_cores: float | None = None
    other_cores: float | None = None
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    disk_free_bytes: int = 0


class DeviceState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One accelerator, as the sampler saw it in the last second; None for what its driver does not tell.

    Attributes:
        index: Its number on this host, as the driver counts.
        name: Its name.
        at_s: When it was last read.
        watts: Mean power.
        integral_j: Energy since the sampler began, joules: the sum of power times time.
        counter_j: The same by the device's own counter.
        mhz: Mean clock of its processors.
        busy: Share of the time in which it worked on anything, 0..1.
        memory_used_bytes: Memory in use.
        celsius: Highest temperature.
        throttled: What slowed it: `power`, `heat`, `hardware`.
        memory_busy: Share of the time in which its memory was read or written, 0..1.
    """

    index: int
    name: str = ""
    at_s: float = 0.0
    watts: float | None = None
    integral_j: float | None = None
    counter_j: float | None = None
    mhz: float | None = None
    busy: float | None = None
    memory_used_bytes: int | None = None
    celsius: float | None = None
    throttled: tuple[str, ...] = ()
    memory_busy: float | None = None


class LiveWarning(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Something that slows a run or speaks against it; said when it begins, and again when it is over.

    Attributes:
        kind: What it is.
        at_s: When it began.
        text: For people.
        seconds: How long it took; None while it lasts.
    """

    kind: WarningKind
    at_s: float
    text: str
    seconds: float | None = None


class LiveRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One line of live.jsonl.

    Attributes:
        version: See `LIVE_VERSION`.
        utc_s: When it was written, seconds since 1970.
        at_s: The same by the monotonic clock.
        began_at_s: When the command began; a run that is continued has another from there on.
        stage: What happens now, for people; of the last record of a command how the run ended.
        tests: The tests that run.
        replicas: The replicas that are loaded or load.
        host: This host.
        devices: Its accelerators; empty where nobody samples them.
        warnings: What began or was over since the record before.
        said: What the command told people since then.
    """

    version: int = 0
    utc_s: float = 0.0
    at_s: float
    began_at_s: float
    stage: str = ""
    tests: tuple[TestState, ...] = ()
    replicas: tuple[ReplicaState, ...] = ()
    host: HostState = HostState()
    devices: tuple[DeviceState, ...] = ()
    warnings: tuple[LiveWarning, ...] = ()
    said: tuple[str, ...] = ()

    @classmethod
    def blank(cls) -> Self:
        """A record of nothing."""
        return cls(at_s=0.0, began_at_s=0.0)
